"""Sentences that deny one finding on both sides, for an organ that has another; the last two are held out, as in `wordings`."""

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
