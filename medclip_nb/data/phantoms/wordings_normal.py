"""What radiologists write where nothing is wrong. The last two wordings of each table are held out, as in `wordings`."""

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
