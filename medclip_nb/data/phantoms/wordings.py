"""What radiologists write. The last two wordings of each table are held out: only test reports use them.

Slots: {where} place with article, {side} left or right, {size} with unit, {upto} "up to " if several, {n} a/two/three,
{s} plural, {sev} mild/moderate/severe, {vol} small/moderate/large.
"""

N_HELD_OUT = 2

ABNORMAL = {
    ("lung", "nodule"): (
        "{n} pulmonary nodule{s} in {where}, {upto}{size}.", "{n} solid nodule{s} in {where} measuring {upto}{size}.",
        "there is nodular opacity in {where}, {upto}{size}; {n} nodule{s}.", "{where}: {n} nodule{s} of {upto}{size}.",
        "{n} well-defined lung nodule{s} in {where}, {upto}{size}.", "nodule{s} ({n}) in {where}, {upto}{size} in diameter.",
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
        "liver cyst{s} ({n}) in {where}, {upto}{size}.", "{n} well-defined cyst{s} of {upto}{size} in {where}.",
        "in {where}, {n} cyst{s} of {upto}{size}.", "{n} {size} cyst{s} in {where}, likely simple.",
        "{n} nonenhancing cyst{s} in {where}, {upto}{size}.", "cystic change in {where}: {n} cyst{s}, {upto}{size}.",
    ),
    ("liver", "metastases"): (
        "{n} hypodense metastas{is} in {where}, {upto}{size}.", "{n} hepatic metastas{is} in {where} measuring {upto}{size}.",
        "{n} hypoenhancing lesion{s} in {where}, {upto}{size}, likely metastas{is}.",
        "liver metastas{is} ({n}) in {where}, {upto}{size}.",
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
        "{side} renal cyst{s} ({n}), {upto}{size}.", "{n} cyst{s} of {upto}{size} in {where}.",
        "{n} benign-appearing cyst{s} in {where}, {upto}{size}.", "{n} {size} cyst{s} in {where}.",
        "{n} partly exophytic cyst{s} in {where} measuring {upto}{size}.", "{n} water-density cyst{s} in {where}, {upto}{size}.",
        "{n} Bosniak I cyst{s} in {where}, {upto}{size}.", "cyst{s} ({n}) arising from {where}, {upto}{size}.",
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
        "dense calcified plaque{s} ({n}) lining {where}.", "atheromatous calcification along {where}.",
    ),
}  # fmt: skip

# sentences that deny one finding on both sides, for an organ that has another
DENIAL = {
    ("lung", "nodule"): (
        "no pulmonary nodule.", "no suspicious lung nodules.",
        "without pulmonary nodules.", "nodules are absent.",
    ),
    ("lung", "consolidation"): (
        "no consolidation.", "no airspace consolidation.", "no focal consolidation is seen.", "consolidation is absent.",
    ),
    ("lung", "pleural effusion"): (
        "no pleural effusion.", "no pleural effusion on either side.",
        "the pleural spaces are free of effusion.", "pleural effusion is absent.",
    ),
    ("lung", "emphysema"): ("no emphysema.", "no emphysematous change.", "without emphysema.", "emphysema is absent."),
    ("heart", "pericardial effusion"): (
        "no pericardial effusion.", "the pericardium is free of effusion.",
        "without pericardial effusion.", "pericardial effusion is absent.",
    ),
    ("heart", "cardiomegaly"): (
        "no cardiomegaly.", "the heart is not enlarged.",
        "heart size is normal.", "cardiomegaly is absent.",
    ),
    ("liver", "metastases"): (
        "no liver metastasis.", "no hepatic metastases.",
        "without evidence of metastases in the liver.", "hepatic metastases are absent.",
    ),
    ("liver", "steatosis"): (
        "no steatosis.", "no fatty liver.",
        "without fatty infiltration of the liver.", "steatosis is absent.",
    ),
    ("kidney", "hydronephrosis"): (
        "no hydronephrosis.", "the collecting systems are not dilated.",
        "no hydronephrosis on either side.", "hydronephrosis is absent.",
    ),
    ("kidney", "stone"): ("no renal stone.", "no nephrolithiasis.", "without renal calculi.", "renal stones are absent."),
    ("aorta", "aneurysm"): ("no aneurysm.", "no aortic aneurysm.", "the aorta is not dilated.", "aneurysm is absent."),
}  # fmt: skip

# organ without side -> sentences true if neither side nor any other part has a finding
NORMAL = {
    "lung": ("the lungs are clear.", "no pulmonary nodule or consolidation.", "clear lungs without pleural effusion.",
             "no focal lung lesion and no pleural effusion.", "lungs and pleural spaces are normal.",
             "both lungs are well aerated and unremarkable.", "normal lung parenchyma throughout."),
    "heart": ("the heart is normal in size.", "no cardiomegaly, no pericardial effusion.", "normal heart and pericardium.",
              "heart size is within normal limits without pericardial effusion.", "unremarkable heart.",
              "cardiac contours and pericardium look normal."),
    "liver": ("the liver is normal.", "no focal liver lesion.", "homogeneous liver without cyst or metastasis.",
              "the liver enhances evenly, no steatosis.", "unremarkable liver.", "hepatic attenuation and contour are normal."),
    "gallbladder": ("no gallstones.", "the gallbladder is normal.", "gallbladder without stones.",
                    "unremarkable gallbladder.", "no cholelithiasis."),
    "spleen": ("the spleen is normal in size.", "no splenomegaly.", "normal spleen.", "unremarkable spleen.",
               "splenic length is within the normal range."),
    "kidney": ("the kidneys are normal.", "no hydronephrosis, stone or cyst.", "no renal stone or hydronephrosis.",
               "both kidneys enhance normally.", "unremarkable kidneys on both sides.", "symmetric kidneys without abnormality."),
    "pancreas": ("the pancreas is normal.", "no pancreatic mass.", "unremarkable pancreas.", "pancreas without focal lesion.",
                 "normal pancreatic contour.", "the pancreas enhances homogeneously."),
    "aorta": ("the aorta is normal in calibre.", "no aortic aneurysm or calcification.", "normal aorta.",
              "the aorta is of normal calibre without plaque.", "unremarkable aorta.", "smooth aortic wall of normal calibre."),
    "stomach": ("the stomach and bowel are unremarkable.", "no bowel obstruction.", "normal bowel loops.",
                "no free abdominal fluid.", "bowel of normal calibre."),
    "urinary_bladder": ("the bladder is normal.", "unremarkable urinary bladder.", "smooth bladder wall.",
                        "the urinary bladder is well filled.", "normal bladder contour."),
    "vertebrae": ("no suspicious bone lesion.", "bones are unremarkable.", "no fracture.", "normal alignment of the spine.",
                  "intact skeleton."),
}  # fmt: skip
NORMAL_SIDE = {
    "lung": ("the {side} lung is clear.", "no nodule or consolidation in the {side} lung.",
             "no {side} pleural effusion, {side} lung clear.", "{side} lung unremarkable.", "the {side} lung is fully aerated."),
    "kidney": ("the {side} kidney is normal.", "no stone or hydronephrosis on the {side}.", "unremarkable {side} kidney.",
               "the {side} kidney enhances normally.", "{side} kidney without abnormality."),
}  # fmt: skip
SHORT = ("No acute finding.", "No acute abnormality.", "Normal examination.")
INDICATION = ("Abdominal pain.", "Staging.", "Follow-up.", "Weight loss.", "Fever.", "Dyspnoea.", "Trauma.", "Before surgery.",
              "Fatigue, raised inflammatory markers.", "Screening.")  # fmt: skip
