"""What radiologists write. The last two wordings of each table are held out: only test reports use them.

Slots: {where} place with article, {side} left or right, {size} with unit, {upto} "up to " if several, {n} a/two/three,
{one} one/two/three, {s} plural, {sev} mild/moderate/severe, {vol} small/moderate/large.
"""

N_HELD_OUT = 2

ABNORMAL = {
    ("lung", "nodule"): (
        "{n} pulmonary nodule{s} in {where}, {upto}{size}.", "{n} solid nodule{s} in {where} measuring {upto}{size}.",
        "there is nodular opacity in {where}, {upto}{size}; {n} nodule{s}.", "{where}: {n} nodule{s} of {upto}{size}.",
        "{n} well-defined lung nodule{s} in {where}, {upto}{size}.", "nodule{s} ({one}) in {where}, {upto}{size} in diameter.",
        "{n} rounded nodule{s} in {where} ({upto}{size}), possible malignancy.", "{n} {size} noncalcified nodule{s} in {where}.",
        "{n} nodular lesion{s} of {upto}{size} within {where}.",
        "{n} spherical nodule{s} of soft tissue in {where}, {upto}{size}.",
    ),
    ("lung", "consolidation"): (
        "consolidation in {where}.", "airspace consolidation in {where} with air bronchograms.",
        "patchy consolidation of {where}, about {size}.", "{where}: consolidation, possible pneumonia.",
        "focal consolidation in {where}, likely infectious.", "dense airspace opacity (consolidation) in {where}.",
        "a {size} area of consolidation in {where}.", "{sev} consolidation in {where}.",
        "consolidative change involving {where}.", "lung consolidation spans {size} within {where}.",
    ),
    ("lung", "pleural effusion"): (
        "{vol} {side} pleural effusion.", "there is a {vol} pleural effusion on the {side}.",
        "{side} pleural effusion, {size} deep.", "{vol} {side}-sided pleural effusion.",
        "{side} pleural effusion measuring up to {size} in depth.", "pleural effusion on the {side}, {vol}.",
        "layering {side} pleural effusion of {vol} volume.", "{vol} dependent pleural effusion, {side} side.",
        "pleural effusion is seen in the {side} hemithorax, {vol}.", "{side} posterior pleural effusion, {size} thick.",
    ),
    ("lung", "emphysema"): (
        "{sev} emphysema in the {side} lung.", "{sev} centrilobular emphysema of the {side} lung.",
        "emphysematous change in the {side} lung, {sev}.", "the {side} lung shows {sev} emphysema.",
        "{sev} upper-zone predominant emphysema on the {side}.", "areas of low attenuation in the {side} lung, {sev} emphysema.",
        "{sev} {side}-sided emphysema.", "emphysema of the {side} lung, {sev} in extent.",
        "{side} lung with {sev} emphysematous destruction.", "multiple lucencies of the {side} lung: {sev} emphysema.",
    ),
    ("heart", "cardiomegaly"): (
        "cardiomegaly.", "the heart is enlarged, {size} across.", "enlarged heart, cardiomegaly.",
        "the heart is clearly enlarged.", "cardiomegaly with a transverse diameter of {size}.",
        "cardiac enlargement, {size} in transverse diameter.", "cardiomegaly is present.",
        "the heart measures {size} and is enlarged.",
        "increased heart size ({size}), in keeping with cardiomegaly.", "global cardiac enlargement, cardiomegaly.",
    ),
    ("heart", "pericardial effusion"): (
        "pericardial effusion, {size} thick.", "{vol} pericardial effusion.", "there is a {vol} pericardial effusion.",
        "pericardial effusion measuring up to {size}.", "circumferential pericardial effusion of {size}.",
        "{vol} pericardial effusion without mass.", "a pericardial effusion is present.", "pericardial effusion, {vol}.",
        "the pericardial sac holds a {vol} effusion.", "pericardial effusion surrounds the heart, {size} in thickness.",
    ),
    ("liver", "steatosis"): (
        "{sev} hepatic steatosis.", "diffuse low attenuation of the liver, {sev} steatosis.", "{sev} fatty liver (steatosis).",
        "the liver shows {sev} steatosis.", "{sev} diffuse hepatic steatosis.", "hepatic steatosis, {sev}.",
        "the liver is darker than the spleen, in keeping with {sev} steatosis.",
        "{sev} fatty infiltration of the liver, steatosis.",
        "liver attenuation is reduced: {sev} steatosis.", "steatosis of the liver of {sev} degree.",
    ),
    ("liver", "cyst"): (
        "{n} hepatic cyst{s} in {where}, {upto}{size}.", "{n} simple cyst{s} in {where} measuring {upto}{size}.",
        "{n} water-density cyst{s} in {where}, {upto}{size}.", "{n} benign cyst{s} in {where} ({upto}{size}).",
        "liver cyst{s} ({one}) in {where}, {upto}{size}.", "{n} well-defined cyst{s} of {upto}{size} in {where}.",
        "in {where}, {n} cyst{s} of {upto}{size}.", "{n} {size} cyst{s} in {where}, likely simple.",
        "{n} nonenhancing cyst{s} in {where}, {upto}{size}.", "cystic change in {where}: {n} cyst{s}, {upto}{size}.",
    ),
    ("liver", "metastases"): (
        "{n} hypodense metastas{is} in {where}, {upto}{size}.", "{n} hepatic metastas{is} in {where} measuring {upto}{size}.",
        "{n} hypoenhancing lesion{s} in {where}, {upto}{size}, likely metastas{is}.",
        "liver metastas{is} ({one}) in {where}, {upto}{size}.",
        "{n} low-density metastas{is} of {upto}{size} in {where}.", "in {where}, {n} metastas{is} of {upto}{size}.",
        "{n} lesion{s} in {where} suspicious for metastas{is}, {upto}{size}.",
        "metastatic disease of the liver: {n} metastas{is}, {upto}{size}.",
        "{n} secondary deposit{s} (metastas{is}) in {where}, {upto}{size}.",
        "{n} solid metastas{is} within {where}, {upto}{size}.",
    ),
    ("spleen", "splenomegaly"): (
        "splenomegaly, {size}.", "the spleen is enlarged, measuring {size}.", "splenomegaly with a length of {size}.",
        "enlarged spleen ({size}).", "the spleen measures {size}, splenomegaly.", "splenomegaly is present ({size}).",
        "there is splenomegaly, the spleen is {size} long.", "splenic enlargement to {size}.",
        "the spleen is increased in size at {size}.", "marked enlargement of the spleen (splenomegaly).",
    ),
    ("kidney", "stone"): (
        "{size} calculus in {where}.", "renal stone of {size} in {where}.", "nonobstructing stone in {where}, {size}.",
        "{size} stone in {where}.", "calcified stone in {where} measuring {size}.", "nephrolithiasis: {size} stone in {where}.",
        "a dense calculus in {where}, {size}.", "{side} renal stone, {size}.",
        "hyperdense stone lies in {where} ({size}).", "{side} nephrolithiasis with a {size} calculus.",
    ),
    ("kidney", "cyst"): (
        "{n} cortical cyst{s} in {where}, {upto}{size}.", "{n} simple renal cyst{s} in {where}, {upto}{size}.",
        "{side} renal cyst{s} ({one}), {upto}{size}.", "{n} cyst{s} of {upto}{size} in {where}.",
        "{n} benign-appearing cyst{s} in {where}, {upto}{size}.", "{n} {size} cyst{s} in {where}.",
        "{n} partly exophytic cyst{s} in {where} measuring {upto}{size}.", "{n} water-density cyst{s} in {where}, {upto}{size}.",
        "{n} Bosniak I cyst{s} in {where}, {upto}{size}.", "cyst{s} ({one}) arising from {where}, {upto}{size}.",
    ),
    ("kidney", "hydronephrosis"): (
        "{sev} {side} hydronephrosis.", "{sev} hydronephrosis of the {side} kidney.", "{side}-sided hydronephrosis, {sev}.",
        "the {side} renal pelvis is dilated to {size}, hydronephrosis.",
        "dilated {side} collecting system, {sev} hydronephrosis.",
        "there is {sev} hydronephrosis on the {side}.", "{sev} dilatation of the {side} renal pelvis (hydronephrosis).",
        "{side} hydronephrosis with a pelvis of {size}.",
        "{side} pelvicalyceal dilatation, {sev} hydronephrosis.", "hydronephrotic {side} kidney, {sev} hydronephrosis.",
    ),
    ("pancreas", "mass"): (
        "hypodense mass in {where}, {size}.", "a {size} mass in {where}.", "pancreatic mass of {size} in {where}.",
        "{size} hypoenhancing mass in {where}, suspicious for carcinoma.",
        "mass in {where} measuring {size}, possible adenocarcinoma.",
        "ill-defined mass of {size} in {where}.", "solid mass in {where} ({size}).", "there is a mass in {where}, {size}.",
        "space-occupying mass of {where}, {size}.", "{size} low-attenuation tumour mass within {where}.",
    ),
    ("gallbladder", "gallstone"): (
        "cholelithiasis, {size} gallstone.", "a {size} gallstone.", "gallstone in the gallbladder, {size}.",
        "calcified gallstone of {size}.", "{size} stone in the gallbladder (gallstone).",
        "cholelithiasis with a {size} gallstone.",
        "the gallbladder contains a gallstone of {size}.", "dependent gallstone, {size}, no wall thickening.",
        "a dense gallstone lies in the gallbladder lumen, {size}.", "uncomplicated cholelithiasis (gallstone, {size}).",
    ),
    ("aorta", "aneurysm"): (
        "aneurysm of {where}, {size}.", "{size} aneurysm of {where}.", "aneurysmal dilatation of {where} to {size}.",
        "{where} is aneurysmal, {size} in diameter.", "fusiform aneurysm of {where} measuring {size}.",
        "focal aneurysm of {where} with mural thrombus, {size}.", "an aneurysm involves {where}, maximum diameter {size}.",
        "{where}: aneurysm of {size}.", "bulging aneurysm of {where} up to {size}.", "{where} widens to {size}, an aneurysm.",
    ),
    ("aorta", "calcification"): (
        "calcified plaque{s} of {where}.", "atherosclerotic calcification of {where}.", "{n} wall calcification{s} of {where}.",
        "calcification of {where}.", "calcified atherosclerosis of {where}, {n} plaque{s}.",
        "coarse calcification in the wall of {where}.",
        "{where} shows {n} calcified plaque{s}.", "mural calcification of {where}, up to {size}.",
        "dense calcified plaque{s} ({one}) lining {where}.", "atheromatous calcification along {where}.",
    ),
}  # fmt: skip

# sentences that deny one finding on both sides, for an organ that has another
DENIAL = {
    ("lung", "nodule"): (
        "no pulmonary nodule.", "no suspicious lung nodules.", "no lung nodule is seen.", "no evidence of pulmonary nodules.",
        "there is no nodule in either lung.", "negative for pulmonary nodules.", "no nodular lung opacity.",
        "lung nodules are not identified.", "without pulmonary nodules.", "nodules are absent.",
    ),
    ("lung", "consolidation"): (
        "no consolidation.", "no airspace consolidation.", "no pneumonic consolidation.", "no lobar consolidation.",
        "no evidence of consolidation.", "there is no airspace opacity.", "negative for consolidation.",
        "consolidation is not identified.", "no focal consolidation is seen.", "consolidation is absent.",
    ),
    ("lung", "pleural effusion"): (
        "no pleural effusion.", "no pleural effusion on either side.", "no pleural fluid.", "no evidence of pleural effusion.",
        "there is no fluid in the pleural spaces.", "no effusion in the pleural cavities.", "negative for pleural effusion.",
        "pleural effusion is not identified.", "the pleural spaces are free of effusion.", "pleural effusion is absent.",
    ),
    ("lung", "emphysema"): (
        "no emphysema.", "no emphysematous change.", "no centrilobular emphysema.", "no evidence of emphysema.",
        "there is no emphysema in either lung.", "no emphysematous destruction.", "negative for emphysema.",
        "emphysema is not identified.", "without emphysema.", "emphysema is absent.",
    ),
    ("heart", "pericardial effusion"): (
        "no pericardial effusion.", "the pericardium is free of effusion.", "no pericardial fluid.",
        "no evidence of pericardial effusion.", "there is no fluid around the heart.", "no effusion in the pericardial sac.",
        "negative for pericardial effusion.", "pericardial effusion is not identified.",
        "without pericardial effusion.", "pericardial effusion is absent.",
    ),
    ("heart", "cardiomegaly"): (
        "no cardiomegaly.", "the heart is not enlarged.", "no cardiac enlargement.", "no evidence of cardiomegaly.",
        "there is no cardiac enlargement.", "the transverse diameter of the heart is normal.", "negative for cardiomegaly.",
        "cardiomegaly is not identified.", "heart size is normal.", "cardiomegaly is absent.",
    ),
    ("liver", "metastases"): (
        "no liver metastasis.", "no hepatic metastases.", "no suspicious liver lesion.", "no evidence of hepatic metastases.",
        "there is no hypodense metastasis in the liver.", "no secondary deposits in the liver.",
        "negative for liver metastases.", "liver metastases are not identified.",
        "without evidence of metastases in the liver.", "hepatic metastases are absent.",
    ),
    ("liver", "cyst"): (
        "no liver cyst.", "no hepatic cysts.", "no cystic liver lesion.", "no evidence of hepatic cysts.",
        "there is no cyst in the liver.", "no water-density lesion of the liver.", "negative for liver cysts.",
        "liver cysts are not identified.", "without hepatic cysts.", "hepatic cysts are absent.",
    ),
    ("liver", "steatosis"): (
        "no steatosis.", "no fatty liver.", "no hepatic steatosis.", "no evidence of steatosis.",
        "there is no fatty change of the liver.", "the liver is not darker than the spleen.", "negative for steatosis.",
        "steatosis is not identified.", "without fatty infiltration of the liver.", "steatosis is absent.",
    ),
    ("kidney", "hydronephrosis"): (
        "no hydronephrosis.", "the collecting systems are not dilated.", "no pelvicalyceal dilatation.",
        "no evidence of hydronephrosis.", "there is no dilatation of either renal pelvis.", "no urinary obstruction.",
        "negative for hydronephrosis.", "hydronephrosis is not identified.",
        "no hydronephrosis on either side.", "hydronephrosis is absent.",
    ),
    ("kidney", "stone"): (
        "no renal stone.", "no nephrolithiasis.", "no renal calculus.", "no evidence of renal stones.",
        "there is no calculus in either kidney.", "no calcified stone in the kidneys.", "negative for renal stones.",
        "renal stones are not identified.", "without renal calculi.", "renal stones are absent.",
    ),
    ("kidney", "cyst"): (
        "no renal cyst.", "no cortical cysts.", "no cystic renal lesion.", "no evidence of renal cysts.",
        "there is no cyst in either kidney.", "no water-density lesion of the kidneys.", "negative for renal cysts.",
        "renal cysts are not identified.", "without renal cysts.", "renal cysts are absent.",
    ),
    ("aorta", "aneurysm"): (
        "no aneurysm.", "no aortic aneurysm.", "no aneurysmal dilatation.", "no evidence of aortic aneurysm.",
        "there is no dilatation of the aorta.", "aortic calibre is preserved.", "negative for aneurysm.",
        "aneurysm is not identified.", "the aorta is not dilated.", "aneurysm is absent.",
    ),
    ("aorta", "calcification"): (
        "no aortic calcification.", "no calcified plaque.", "no atherosclerotic calcification.",
        "no evidence of aortic calcification.", "there is no calcified plaque of the aorta.", "no mural calcification.",
        "negative for aortic calcification.", "aortic calcification is not identified.",
        "without calcified plaques.", "aortic calcification is absent.",
    ),
}  # fmt: skip

# organ without side -> sentences true if neither side nor any other part has a finding
NORMAL = {
    "lung": (
        "the lungs are clear.", "no pulmonary nodule or consolidation.", "clear lungs without pleural effusion.",
        "no focal lung lesion and no pleural effusion.", "lungs and pleural spaces are normal.", "unremarkable lungs.",
        "no abnormality of the lungs.", "both lungs show normal attenuation.",
        "both lungs are well aerated and unremarkable.", "normal lung parenchyma throughout.",
    ),
    "heart": (
        "the heart is normal in size.", "no cardiomegaly, no pericardial effusion.", "normal heart and pericardium.",
        "heart size is within normal limits without pericardial effusion.", "no abnormality of the heart.",
        "the heart and the pericardium are normal.", "normal cardiac size.", "no enlargement of the heart.",
        "unremarkable heart.", "cardiac contours and pericardium look normal.",
    ),
    "liver": (
        "the liver is normal.", "no focal liver lesion.", "homogeneous liver without cyst or metastasis.",
        "the liver enhances evenly, no steatosis.", "no abnormality of the liver.", "normal liver parenchyma.",
        "the liver is of normal density.", "no cystic or solid liver lesion.",
        "unremarkable liver.", "hepatic attenuation and contour are normal.",
    ),
    "gallbladder": (
        "no gallstones.", "the gallbladder is normal.", "gallbladder without stones.", "no calculus in the gallbladder.",
        "no abnormality of the gallbladder.", "normal gallbladder.", "the gallbladder contains no stone.",
        "negative for gallstones.", "unremarkable gallbladder.", "no cholelithiasis.",
    ),
    "spleen": (
        "the spleen is normal in size.", "no splenomegaly.", "normal spleen.", "the spleen is not enlarged.",
        "no abnormality of the spleen.", "spleen of normal size.", "the spleen is normal.", "negative for splenomegaly.",
        "unremarkable spleen.", "splenic length is within the normal range.",
    ),
    "kidney": (
        "the kidneys are normal.", "no hydronephrosis, stone or cyst.", "no renal stone or hydronephrosis.",
        "both kidneys enhance normally.", "no abnormality of the kidneys.", "normal kidneys.",
        "the kidneys show no stone or cyst.", "no focal renal lesion.",
        "unremarkable kidneys on both sides.", "symmetric kidneys without abnormality.",
    ),
    "pancreas": (
        "the pancreas is normal.", "no pancreatic mass.", "unremarkable pancreas.", "pancreas without focal lesion.",
        "no abnormality of the pancreas.", "normal pancreas.", "no mass in the pancreas.", "negative for pancreatic mass.",
        "normal pancreatic contour.", "the pancreas enhances homogeneously.",
    ),
    "aorta": (
        "the aorta is normal in calibre.", "no aortic aneurysm or calcification.", "normal aorta.",
        "the aorta is of normal calibre without plaque.", "no abnormality of the aorta.", "the aorta is normal.",
        "no aneurysm or plaque of the aorta.", "aorta without aneurysm.",
        "unremarkable aorta.", "smooth aortic wall of normal calibre.",
    ),
    "stomach": (
        "the stomach and bowel are unremarkable.", "no bowel obstruction.", "normal bowel loops.", "normal stomach and bowel.",
        "no dilated bowel loop.", "the stomach is normal.", "no thickening of the bowel wall.", "no abnormality of the bowel.",
        "no free abdominal fluid.", "bowel of normal calibre.",
    ),
    "urinary_bladder": (
        "the bladder is normal.", "unremarkable urinary bladder.", "smooth bladder wall.", "normal urinary bladder.",
        "no abnormality of the bladder.", "no thickening of the bladder wall.", "no bladder stone.",
        "the urinary bladder is unremarkable.", "the urinary bladder is well filled.", "normal bladder contour.",
    ),
    "vertebrae": (
        "no suspicious bone lesion.", "bones are unremarkable.", "no fracture.", "the skeleton is normal.",
        "no abnormality of the bones.", "no destructive bone lesion.", "the vertebrae are normal in height.",
        "no vertebral fracture.", "normal alignment of the spine.", "intact skeleton.",
    ),
}  # fmt: skip
NORMAL_SIDE = {
    "lung": (
        "the {side} lung is clear.", "no nodule or consolidation in the {side} lung.", "normal {side} lung.",
        "no {side} pleural effusion, {side} lung clear.", "the {side} lung is normal.", "no abnormality of the {side} lung.",
        "clear {side} lung.", "no focal lesion in the {side} lung.",
        "{side} lung unremarkable.", "the {side} lung is fully aerated.",
    ),
    "kidney": (
        "the {side} kidney is normal.", "no stone or hydronephrosis on the {side}.", "unremarkable {side} kidney.",
        "normal {side} kidney.", "no abnormality of the {side} kidney.", "no stone or cyst in the {side} kidney.",
        "no {side} hydronephrosis.", "no focal lesion in the {side} kidney.",
        "the {side} kidney enhances normally.", "{side} kidney without abnormality.",
    ),
}  # fmt: skip
SHORT = ("No acute finding.", "No acute abnormality.", "Normal examination.")
INDICATION = ("Abdominal pain.", "Staging.", "Follow-up.", "Weight loss.", "Fever.", "Dyspnoea.", "Trauma.", "Before surgery.",
              "Fatigue, raised inflammatory markers.", "Screening.")  # fmt: skip
