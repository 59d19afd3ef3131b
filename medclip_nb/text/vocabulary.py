"""Words of radiology reports as tables: organs, abnormalities, negation, uncertainty, and the label sets of public datasets.

Entries are regular expressions for lower-case text; a word's beginning and end are added where they are compiled.
"""

# between two words that belong together: up to four others, without leaving the sentence part
GAP = r"(?:[\s/-]+\w++){0,4}?[\s/-]+"

# what a report names -> how it is spelt; listed first wins where two match at one place
ORGANS = {
    "coronary arteries": (r"coronar(?:y|ies)(?: vascular| artery| arteries| vessels?)?", "lad"),
    "pulmonary artery": (
        r"pulmonary (?:arter(?:y|ies)|arterial|trunk|vascular\w*|vasculature|vessels?|emboli\w*|conus)", "hilar vessels",
    ),
    "pericardium": (r"pericardi\w+",),
    "pleura": (r"pleura\w*", r"hemithora\w+", r"hydropneumothora\w+", r"costophrenic \w+"),
    "lymph nodes": (r"lymph(?: |-)?nod\w+", r"\w{0,12}nodal", "lap", r"lymphadenopath\w+", r"adenopath\w+"),
    "gallbladder": (r"gall ?bladder\w*",),
    "urinary_bladder": ("urinary bladder", "bladder"),
    "liver": ("liver", r"(?:intra)?hepat\w+"),
    "kidney": (
        "kidneys?", "renal", r"pelvi-?calyceal", "collecting systems?", r"pelvicalic\w+", r"nephro\w+", r"perirenal",
    ),
    "adrenal_gland": (r"adrenals?", r"suprarenal\w*"),
    "spleen": ("spleen", "splenic"),
    "pancreas": (r"pancrea\w+",),
    "heart": (
        r"(?:aortic|mitral|tricuspid) (?:valv\w+|annul\w+)", "hearts?", "cardiac", r"cardio\w+", "ctr",
        "left ventric(?:le|ular)", "right ventric(?:le|ular)", r"atri(?:um|a|al)",
        "myocardi(?:um|al)",
    ),
    "aorta": (
        r"(?:(?:ascending|descending|thoracic|abdominal)(?:,| and)? )*aort\w+(?:[ -](?:arch|walls?|root|branches))?(?: aorta)?",
        r"arcus(?: aorta)?", "supraaortic branches",
    ),
    "thyroid_gland": ("thyroid", r"thyroid \w+"),
    "breast": ("breasts?",),
    "trachea": ("trachea", "tracheal"),
    "esophagus": (r"o?esophag\w+",),
    "stomach": ("stomach", "gastric", "bowels?", "colon", "colonic", "intestin(?:e|es|al)", "duodenum"),
    "bile ducts": ("biliary", r"bile ducts?", r"choledoch\w*", "common bile duct"),
    "peritoneum": (r"periton\w+", "abdom(?:en|inal)", "pelvi(?:c|s)", "perihepatic", "perisplenic"),
    "mediastinum": (r"mediastin\w+", r"thym(?:us|ic)"),
    "brain": (
        "brain", r"cerebr\w+", r"cerebell\w+", r"intracranial\w*", r"(?:frontal|parietal|occipital)(?: lobes?)?",
        r"temporal(?: lobes?)?", "basal ganglia", r"thalam\w+", "pons", "brainstem", r"white matter", r"corona radiata",
        "centrum semiovale", "hippocamp(?:us|al)", "hemispheres?", "periventricular", "insula", "corpus callosum", "mca", "pca",
    ),
    "ventricles": ("ventricles?", "lateral ventricles?", "ventricular system"),
    "ribs": ("ribs?", "costal"),
    "vertebrae": (
        r"vertebra\w*", "spin(?:e|al)", "bones?", "osseous", "bony", r"skelet\w+", "sternum", "clavicles?", 
    ),
    "other": ("prostate", "prostatic", "uter(?:us|ine)", r"ligament\w*", r"subcutaneous", "skin", r"muscl\w+",
              "axill(?:a|ae|ary)",
              r"scapul\w+", "shoulders?", r"omentum|omental"),
    "lung": (
        r"lungs?", r"pulmonary", r"(?:upper|middle|lower|lat|lung) lobes?", r"lingul\w*", r"fissures?", r"parenchyma\w*",
        r"(?:bi)?api(?:x|ces|cal)\w*", "apex", r"(?:bi)?bas(?:ilar|al|es)", r"\w{3,8}basal", r"air ?spaces?", "retrocardiac",
        r"(?:peri|infra|supra)?hil(?:ar|um|a)", r"(?:peri|intra)?bronch\w+", "lobar", "both hemithoraces",
    ),
}  # fmt: skip
# parts that are counted with an organ: neither has a mask of its own
PART_OF = {"pleura": "lung", "pericardium": "heart", "ventricles": "brain"}
SIDED = frozenset({"lung", "kidney", "adrenal_gland", "thyroid_gland", "breast", "brain", "ribs"})
# organ -> TotalSegmentator's class names (version 2)
TOTALSEGMENTATOR = {
    "lung": ("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
             "lung_lower_lobe_right"),
    "heart": ("heart",), "aorta": ("aorta",), "liver": ("liver",),
    "gallbladder": ("gallbladder",), "spleen": ("spleen",), "pancreas": ("pancreas",),
    "kidney": ("kidney_left", "kidney_right", "kidney_cyst_left", "kidney_cyst_right"),
    "adrenal_gland": ("adrenal_gland_left", "adrenal_gland_right"), "urinary_bladder": ("urinary_bladder",),
    "stomach": ("stomach", "duodenum", "small_bowel", "colon"), "esophagus": ("esophagus",), "trachea": ("trachea",),
    "thyroid_gland": ("thyroid_gland",), "brain": ("brain",),
    "ribs": tuple(f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)),
    "vertebrae": ("sacrum", *(f"vertebrae_{name}" for name in (
        "S1", *(f"L{n}" for n in range(5, 0, -1)), *(f"T{n}" for n in range(12, 0, -1)), *(f"C{n}" for n in range(7, 0, -1))))),
}  # fmt: skip

# the words alone tell the organ
ABNORMALITIES = {
    ("lung", "consolidation"): (r"consolidat\w+", r"air ?space (?:opaci\w+|disease)", r"bronchopneumon\w+"),
    ("lung", "emphysema"): (r"(?!emphysematous gall)emphysem\w+", r"bullae?", "bullous"),
    ("lung", "obstructive disease"): ("copd", "chronic obstructive"),
    ("lung", "atelectasis"): (r"(?:sub)?atelecta\w+", "volume loss", "lobe collapse",
                              "collapsed? (?:of the )?(?:left |right )?(?:lung|lobe)", "lung collapse"),
    ("lung", "ground-glass opacity"): (r"ground[ -]?glass\w*(?! nodul)", "ggos?", "frosted glass", "crazy paving"),
    ("lung", "opacity"): (
        r"(?<!nodular )opacit(?:y|ies)", r"opacifi\w+", r"(?<!fatty )infiltrat(?:e|es|ion|ions|ive)", r"air ?space opacit\w+",
    ),
    ("lung", "pneumonia"): (r"pneumoni(?:a|as|c|tis)",),
    ("lung", "fibrosis"): (
        r"fibro(?:sis|tic|atelectatic|sed)\w*", r"sequel\w+", r"pleuro-?parenchymal(?: \w+)? bands?", r"honeycomb\w*",
        r"pleura-?parenchymal(?: \w+)? bands?", r"scar(?:s|red|ring)?", r"architectural distortion", r"parenchymal bands?",
    ),
    ("lung", "mosaic attenuation"): (r"mosaic\w*",),
    ("lung", "peribronchial thickening"): (
        rf"(?:peri)?bronchial{GAP}thick\w+", r"(?:peri)?bronchial thick\w+", rf"thick\w+{GAP}(?:peri)?bronchial",
        r"(?:peri)?bronchial cuffing", r"bronchial wall thick\w+", r"peribronchovascular thick\w+",
        rf"thick\w+{GAP}bronch(?:us|i)\w*",
    ),
    ("lung", "bronchiectasis"): (r"(?:bronchi|bronchiol)ecta\w+", rf"bronch\w+{GAP}dilat\w+", rf"dilat\w+{GAP}bronchi(?:al)?"),
    ("lung", "septal thickening"): (
        rf"septal{GAP}thick\w+", r"septal thick\w+", rf"thick\w+{GAP}sept(?:a|um|al)", rf"septa{GAP}thick\w+", "kerley b? ?lines",
        r"septa(?:l)? lines", r"interlobular (?:and \w+ )?sept\w+", r"intralobular septal",
    ),
    ("lung", "interstitial change"): (
        r"interstitial (?:lung disease|disease|markings|prominence|pattern|opacit\w+|thick\w+|edema|changes?)",
        r"reticul(?:ar|ation|onodular)\w*",
    ),
    ("lung", "edema"): (r"pulmonary o?edema", r"vascular congestion", r"alveolar o?edema"),
    ("lung", "pneumothorax"): (r"(?:hydro)?pneumothora\w+",),
    ("lung", "pleural thickening"): (
        r"pleural(?:\w|\s)?(?:plaques?|thick\w+|scar\w*|calcif\w+)", rf"pleural{GAP}thick\w+", rf"thick\w+{GAP}pleura\w*",
    ),
    ("lung", "hyperinflation"): (r"hyper-?(?:inflat|expan|aerat|lucen)\w+",
                                 r"flatten\w+(?: of)?(?: \w+){0,3} (?:hemi)?diaphragms?"),
    ("lung", "hypoinflation"): (
        r"hypo-?(?:inflat|aerat|ventilat)\w+", r"(?:low|small|decreased|diminished|reduced) lung volumes?",
        r"(?:shallow|poor) inspir\w+",
        r"lung volumes (?:are |remain )?(?:\w+ly )?(?:low|decreased|diminished|reduced)",
    ),
    ("diaphragm", "elevation"): (
        r"elevat\w+(?: \w+){0,4} (?:hemi)?diaphragms?", r"(?:hemi)?diaphragm(?: \w+){0,3} elevat\w+", r"eventrat\w+",
    ),
    ("ribs", "deformity"): (r"deformit(?:y|ies)", r"pectus \w+"),
    ("lung", "granuloma"): (r"granuloma\w*", r"granulomatous\w*"),
    ("lung", "pulmonary embolism"): (r"pulmonary (?:thrombo)?emboli\w*", r"filling defects?"),
    ("lung", "cavitation"): (r"cavit(?:y|ies|ary|ation|ating)\w*",),
    ("heart", "failure"): ("(?:congestive )?heart failure", "chf"),
    ("heart", "cardiomegaly"): (
        r"cardiomegal\w+", r"ctr(?: \w+){0,2} increas\w+", r"increas\w+(?: in)?(?: the)? (?:ctr|cardiothoracic)",
        r"enlarged cardiac\w*",
        r"cardiothoracic (?:index|ratio)(?: \w+){0,2} increas\w+", r"(?<!not )in favou?r of the heart",
        r"heart(?: \w+){0,4} (?:increas|enlarg)\w+",
        r"(?:enlarge\w*|increase[sd]?)(?: (?:of|in))?(?: the)? (?:heart|cardiac)(?: size| silhouette)?",
    ),
    ("liver", "steatosis"): (r"(?:hepato)?steatos[ie]s", r"fatty (?:liver|change|infiltrat\w+|appearance)", r"diffusely fatty",
                             "adiposity of the liver"),
    ("liver", "metastases"): (r"(?:liver|hepatic) metasta\w+",),
    ("liver", "hepatomegaly"): (r"hepato(?:spleno)?megal\w+",),
    ("liver", "cirrhosis"): (r"cirrho\w+",),
    ("liver", "hemangioma"): (r"h(?:a?e)mangioma\w*",),
    ("spleen", "splenomegaly"): (r"(?:hepato)?splenomegal\w+",),
    ("kidney", "hydronephrosis"): (r"hydro(?:uretero)?nephro\w+", r"pelviectas\w+", r"caliectas\w+", r"urinary obstruction"),
    ("kidney", "stone"): (r"nephrolithias\w+",),
    ("kidney", "cyst"): (r"bosniak(?: \w+)? cysts?", r"cortical cysts?"),
    ("gallbladder", "gallstone"): (r"gall ?stones?", r"cholelithias\w+", r"cholecystolithias\w+"),
    ("gallbladder", "cholecystectomy"): (r"cholecystectom\w+",),
    ("coronary arteries", "calcification"): (r"coronary artery disease",),
    ("aorta", "tortuosity"): (r"tortuo(?:us|sity)\w*", r"(?:unfold|ectat)\w+(?: \w+){0,3} aort\w+", r"ectatic"),
    ("stomach", "obstruction"): ("(?:bowel|intestinal) obstruction", "ileus"),
    ("peritoneum", "ascites"): (r"ascit\w+",),
    ("esophagus", "hiatal hernia"): (r"hiat(?:al|us)(?: \w+)? herni\w+", r"herni\w+(?: \w+){0,3} hiat\w+", "sliding herni\\w+",
                                     r"herniation (?:of|in) the stomach"),
    ("lymph nodes", "lymph node"): (
        r"lymph ?-?nod(?:e|es|ules?)\b", r"lymphadenopath\w+", r"adenopath\w+", "laps?",
    ),
    ("vertebrae", "fracture"): (r"compression (?:deformit|fractur)\w+",),
    ("vertebrae", "degenerative change"): (
        r"degenerat\w+", r"osteophyt\w+", r"spondylo\w+", r"(?:osteo)?arthr(?:itis|osis|itic)\w*", r"spurring", "dish",
        r"disc space narrowing",
        r"endplate changes?",
    ),
    ("vertebrae", "scoliosis"): (r"(?:levo|dextro|kypho)?scolio\w+", r"curvature", r"kypho(?:sis|tic)", r"dextroconvex\w*",
                                 "levoconvex"),
    ("vertebrae", "osteopenia"): (r"osteop(?:enia|enic|orosis|orotic)", r"(?:de|un)mineraliz\w+"),
    ("device", "medical material"): (
        r"catheters?", "stents?", r"prosthe\w+", "pacemakers?", r"pace(?:r|maker)(?: \w+)? leads?", "icd", "leads?", r"picc\w*",
        r"sutur\w+", r"(?:surgical |sternal |metallic )?clips?", r"cerclages?",
        r"(?:endotracheal|nasogastric|chest|ng|enteric|feeding) tubes?", r"(?:tracheostomy|drainage) tubes?",
        r"cannula\w*", r"port(?:s|[ -]?a[ -]?cath| chamber| catheter)?",
        r"(?:surgical|metallic|internal) (?:material|hardware|fixation)\w*",
        r"(?:breast|silicone|dental|cochlear) implants?", r"(?:mechanical|artificial|replaced) valve\w*",
        r"valve (?:replacement|prosthesis)", r"defibrillator", r"wires?", r"screws?", r"anchors?", r"plaque-screws?",
        r"drains?", r"tracheostomy",
    ),
    ("brain", "infarct"): (r"infarct\w*", r"isch(?:a?e)mi\w+", r"stroke"),
    ("brain", "hemorrhage"): (r"(?:intracranial |intracerebral |subarachnoid |subdural )?h(?:a?e)morrhag\w+",
                              r"microbleeds?", r"h(?:a?e)matomas?"),
    ("brain", "white-matter hyperintensity"): (
        r"hyper-?intens\w+", r"leuk(?:o)?ara?iosis", r"gliosis", r"gliotic\w*", "small vessel (?:disease|changes?)",
        r"microangiopath\w+", r"demyelinat\w+",
    ),
    ("brain", "tumour"): (r"gliomas?", r"glioblastomas?", r"meningiomas?", r"astrocytomas?"),
    ("brain", "diffusion restriction"): (r"restrict\w+(?: \w+)? diffusion", r"diffusion restrict\w+"),
    ("brain", "hydrocephalus"): (r"hydrocephal\w+", r"ventriculomegal\w+"),
    ("brain", "midline shift"): (r"midline shift",),
}  # fmt: skip

# the organ named nearest tells what it is; "" if none is named
GENERAL = {
    r"nodul(?:es?|arit\w+)|nodular(?: lung)? (?:opacit|lesion|format)\w*|nodular(?= or)|nodular densit(?:y|ies)(?! inc)": {
        o: (o, "nodule") for o in ("lung", "thyroid_gland", "adrenal_gland", "liver", "spleen", "breast", "kidney")
    } | {"pleura": ("lung", "nodule"), "": ("lung", "nodule")},
    r"cysts?|cystic(?: \w+)?|water-density lesions?": {
        o: (o, "cyst") for o in ("liver", "kidney", "pancreas", "lung", "spleen", "thyroid_gland", "breast", "brain",
            "mediastinum")
    },
    r"mass(?:es)?|tumou?rs?(?: mass)?|neoplas\w+|malignan\w+|carcinomas?": {
        o: (o, "mass") for o in ("pancreas", "lung", "liver", "kidney", "spleen", "adrenal_gland", "mediastinum", "breast",
            "stomach")
    } | {"brain": ("brain", "tumour")},
    r"lesions?": {o: (o, "lesion") for o in ("lung", "liver", "kidney", "spleen", "pancreas", "vertebrae", "brain",
    "adrenal_gland")},
    r"metastas(?:is|es)|metastatic(?: disease)?|secondary deposits?|deposits?": {
        o: (o, "metastases") for o in ("liver", "lung", "vertebrae", "brain", "spleen")
    },
    r"calcul(?:us|i)|(?<!gall)stones?|lithiasis": {
        "kidney": ("kidney", "stone"), "gallbladder": ("gallbladder", "gallstone"), "urinary_bladder": ("urinary_bladder",
                   "stone"),
        "bile ducts": ("bile ducts", "stone"),
    },
    r"(?<!joint )effusions?": {
        "pleura": ("lung", "pleural effusion"), "pericardium": ("heart", "pericardial effusion"), "peritoneum": ("peritoneum",
                   "ascites"),
        "lung": ("lung", "pleural effusion"), "": ("lung", "pleural effusion"),
    },
    r"fluid": {
        "pleura": ("lung", "pleural effusion"), "pericardium": ("heart", "pericardial effusion"),
        "heart": ("heart", "pericardial effusion"), "peritoneum": ("peritoneum", "ascites"),
    },
    r"fractur\w+": {"ribs": ("ribs", "fracture"), "vertebrae": ("vertebrae", "fracture"), "": ("vertebrae", "fracture")},
    r"enlarge\w*|increased(?: \w+)? size|increased in size|hypertroph\w+|(?:increase|larger?)(?: \w+)? (?:in|of) size": {
        "heart": ("heart", "cardiomegaly"), "spleen": ("spleen", "splenomegaly"), "liver": ("liver", "hepatomegaly"),
        "lymph nodes": ("lymph nodes", "lymphadenopathy"), "mediastinum": ("mediastinum", "widening"),
        "thyroid_gland": ("thyroid_gland", "enlargement"),
    },
    r"dilat\w+|ecta(?:sia|tic)|widen\w*|wider than normal": {
        "aorta": ("aorta", "aneurysm"), "kidney": ("kidney", "hydronephrosis"), "stomach": ("stomach", "dilatation"),
        "pulmonary artery": ("pulmonary artery", "dilatation"), "ventricles": ("brain", "hydrocephalus"),
        "brain": ("brain", "aneurysm"), "mediastinum": ("mediastinum", "widening"), "bile ducts": ("bile ducts", "dilatation"),
    },
    r"aneurysm\w*": {"aorta": ("aorta", "aneurysm"), "brain": ("brain", "aneurysm"), "": ("aorta", "aneurysm")},
    r"wall thick\w+|thick\w+ of the(?: \w+)? walls?": {
        o: (o, "wall thickening") for o in ("stomach", "esophagus", "gallbladder", "urinary_bladder")
    },
    r"(?:calcif\w+ )?(?:\w+ )?plaques?|ather(?:o|oma|omatous|omas|osclero\w+|omatosis)(?: \w+)?(?: plaques?)?|calcifications?": {
        o: (o, "calcification") for o in ("aorta", "coronary arteries", "lung", "lymph nodes", "heart", "liver", "spleen",
            "trachea",
                                          "pancreas", "kidney", "thyroid_gland", "brain")
    } | {"pleura": ("lung", "pleural thickening"), "mediastinum": ("aorta", "calcification"), "": ("aorta", "calcification")},
    r"(?:is|are|appears?) calcified|calcified(?= (?:\w+ )?(?:aort|coronar))": {
        o: (o, "calcification") for o in ("aorta", "coronary arteries")
    },
    r"atroph\w+": {o: (o, "atrophy") for o in ("brain", "kidney", "pancreas")},
    r"o?edema": {"lung": ("lung", "edema"), "brain": ("brain", "edema")},
}  # fmt: skip

# ConText (Harkema et al. 2009) on NegEx (Chapman et al. 2001): what a trigger says of the words before or after it
_SEEN = (
    r"(?:seen|observed|detected|identified|noted|found|visible|visuali[sz]ed|demonstrated|evident|present|appreciated|distinguished|"
    r"shown|encountered|monitored|selected|followed|watched|evidenced)"
)
_CHANGE = r"(?:change|difference|increase(?! in (?:\w+ ){0,3}thick)|decrease|progression|regression|worsening|improvement)s?"
_DEGREE = r"(?:\w+ly |significant |interval |definite |appreciable |further |marked |obvious |substantial |major |new )*"
TRIGGERS = {
    "pseudo": (
        rf"(?:no|without|not any) {_DEGREE}(?:interval )?{_CHANGE}", r"not (?:only|necessarily|just|merely)",
        r"not (?:significantly |substantially )?changed", r"no less than", r"not (?:known|clear) whether", "gram[- ]negative",
        r"(?:could|can) ?not be (?:\w+ly )?(?:evaluated|assessed|characteri[sz]ed|differentiated|clearly evaluated)",
        r"(?:no|without) contrast", r"not (?:\w+ly )?(?:evaluated|assessed)", "without intravenous", r"no\. \d+",
    ),
    "uncertain after": (
        r"(?:can ?not|could not|can't|not|may not) be (?:\w+ly )?(?:excluded|ruled out)",
        r"(?:is|are|was|were) not (?:excluded|ruled out)",
        r"not (?:entirely |completely )?excluded",
        r"(?:is|are) (?:possible|suspected|questionable|uncertain|considered|likely|in question)",
        r"(?:is|are) to be (?:considered|excluded)", r"should be (?:considered|excluded)",
    ),
    "negated after": (
        rf"(?:is|are|was|were|has|have|had|has been|have been) (?:clearly )?(?:not|no longer)(?: been)?(?: \w+ly)? {_SEEN}",
        rf"not (?:been )?(?:\w+ly )?{_SEEN}", rf"(?:could|can) ?not be {_SEEN}", r"(?:is|are|was|were) absent", "absent",
        "has resolved",
        r"(?:is|are|was|were|have|has been|have been) (?:completely |fully )?resolved", "resolved", r"(?<=\w )no longer",
        r"(?:is|are|was|were) (?:unlikely(?! to)|negative|ruled out|excluded)", "ruled out", "unlikely(?! to)",
        r"disappear\w*", "has cleared", "(?:has|have) been removed",
        rf"may not be {_SEEN}",
        r"not been",
    ),
    "uncertain before": (
        "possibl[ey]", "probabl[ey]", "likely", "suspicious (?:for|of)", r"suspect\w+", "suspicion (?:of|for)",
        r"suggest\w*(?: of)?",
        "may", "might", "could", "questionable", "equivocal", "concern(?:ing)? for", r"consider\w*", "differential", "versus",
        "vs",
        "cannot exclude", "cannot rule out", "can't exclude", "not exclude", "presumed", "rule out", "r/o", "exclude",
        "in terms of", r"(?:evaluated|primarily) in favou?r of", "perhaps", "or less likely", "potential(?:ly)?",
    ),
    "negated before": (
        r"no (?:\w+ )?(?:evidence|signs?|indication|suggestion|findings?) (?:of|for|to suggest|compatible with)", "no", "not",
        "without",
        "negative for", r"free (?:of|from)", "absence of", "lack of", r"den(?:y|ies|ied)", "neither", "nor", "never",
        "rather than",
        r"(?:interval |complete )?resolution of", r"fail(?:s|ed)? to (?:show|reveal|demonstrate)", "none of", "no longer",
        r"unlikely to (?:be|represent|reflect)", "devoid of", "clear of",
        "instead of",
    ),
}  # fmt: skip
# where the reach of a trigger ends
TERMINATORS = (
    r"\b(?:but|however|although|though|nevertheless|yet|whereas|while|except(?: for)?|besides|(?:apart|aside) from|other than|"
    r"which|secondary to|due to|because|otherwise|still|despite)\b",
    ";",
    r",\s*(?:and\s+)?(?:there|a|an|with)\b",
    r"\band (?:there|a|an)\b",
    r",(?= ?\d{1,3}(?:\.\d)? ?[mc]m\b)",
)
# a sentence with two finite verbs is two clauses; after a closed one the next begins at once
VERBS = {
    "closed": rf"(?:is|are|was|were|has been|have been)(?: \w+ly)? (?:{_SEEN}|normal|clear|open|natural|unremarkable|unchanged)",
    "open": r"is|are|was|were|has|have|shows?|showed|reveals?|demonstrates?",
}
DOUBTED = r"\?"  # "(cyst?)": doubts what stands before it in its bracket
NORMAL = (
    r"(?<!than )(?<!limits of )(?<!limit of )normal(?: limits)?",
    "unremarkable",
    "clear",
    "natural",
    "intact",
    "preserved",
    "open",
    "within normal limits",
    r"(?:no|without)(?: \w+){0,3} (?:abnormalit\w+|patholog(?:y|ies))",
    "of normal calib\\w+",
    "enhances? (?:normally|evenly|homogeneously)",
    "(?:well|fully) aerated",
    "smooth",
    "well filled",
)
SIDES = {
    "left": r"left(?:-sided)?",
    "right": r"right(?:-sided)?",
    "both": r"bilateral(?:ly)?|both|either|each|bi(?:basilar|basal|apical)",
}
NORMAL_TEXT = "{organ} shows no significant abnormality."
# organs as a sentence names them, where that is not the name itself
SPOKEN = {
    "adrenal_gland": "adrenal gland",
    "thyroid_gland": "thyroid gland",
    "urinary_bladder": "urinary bladder",
    "device": "medical device",
}
FUNCTION_WORDS = {
    "english": ("the", "of", "is", "are", "with", "and", "was", "were", "there", "without", "not", "has", "which", "this",
                "at", "to"),
    "other": (r"de(?! novo)", "le", "les", "des", "du", "pas", "sans", "avec", "et", "dans", "el", "los", "las", "del", "con",
              "sin", "en",
              "un", "una", "une", "il", "della", "nel", "der", "die", "das", "und", "ohne", "kein", "keine", "nicht", "mit",
              "hay", "sem",
              "uma", "n[aã]o", "ve", "bir", "yok", "est", "och", "ingen", "inga", "geen", "het", "een", "van", "nessun[oa]?",
              "bez", "brak"),
}  # fmt: skip

ABBREVIATIONS = frozenset((
    "dr", "mr", "mrs", "ms", "prof", "st", "approx", "ca", "e.g", "i.e", "eg", "ie", "vs", "cf", "fig", "incl", "max", "min",
    "resp",
    "seg", "diff", "art", "lat", "a.p", "p.a", "i.v", "viz", "al",
))  # fmt: skip
SECTIONS = {
    "indication": ("indications?", "history",
                   r"clinical (?:history|indication|information|data|details|question|statement|background)",
                   r"reason for (?:exam|examination|study)", "exam indication", "symptoms"),
    "comparison": ("comparisons?", r"comparison stud(?:y|ies)", "prior stud(?:y|ies)", "previous examinations?"),
    "technique": ("techniques?", "procedure", "protocol", "methods?", r"(?:exam|examination|study)(?: type)?", "contrast"),
    "findings": ("findings?", "report", "observations?", "description", "results?"),
    "impression": ("impressions?", "conclusions?", "summary", "opinion", "interpretation", "assessment", "diagnosis",
                   "result and opinion"),
}  # fmt: skip
SEARCHED = ("findings", "impression")

# label sets of public datasets -> our (organ, finding) pairs
CT_RATE = {
    "Medical material": {("device", "medical material")},
    "Arterial wall calcification": {("aorta", "calcification")},
    "Cardiomegaly": {("heart", "cardiomegaly")},
    "Pericardial effusion": {("heart", "pericardial effusion")},
    "Coronary artery wall calcification": {("coronary arteries", "calcification")},
    "Hiatal hernia": {("esophagus", "hiatal hernia")},
    "Lymphadenopathy": {("lymph nodes", "lymphadenopathy"), ("lymph nodes", "lymph node")},
    "Emphysema": {("lung", "emphysema")},
    "Atelectasis": {("lung", "atelectasis")},
    "Lung nodule": {("lung", "nodule")},
    "Lung opacity": {("lung", "opacity"), ("lung", "ground-glass opacity")},
    "Pulmonary fibrotic sequela": {("lung", "fibrosis")},
    "Pleural effusion": {("lung", "pleural effusion")},
    "Mosaic attenuation pattern": {("lung", "mosaic attenuation")},
    "Peribronchial thickening": {("lung", "peribronchial thickening")},
    "Consolidation": {("lung", "consolidation")},
    "Bronchiectasis": {("lung", "bronchiectasis")},
    "Interlobular septal thickening": {("lung", "septal thickening")},
}
CHEXPERT = {
    "No Finding": set(),
    "Enlarged Cardiomediastinum": {("mediastinum", "widening"), ("heart", "cardiomegaly")},
    "Cardiomegaly": {("heart", "cardiomegaly")},
    "Lung Opacity": {("lung", name) for name in ("opacity", "ground-glass opacity", "consolidation", "pneumonia", "edema",
                                                 "atelectasis", "nodule", "mass")},
    "Lung Lesion": {("lung", "nodule"), ("lung", "mass"), ("lung", "lesion")},
    "Edema": {("lung", "edema")},
    "Consolidation": {("lung", "consolidation")},
    "Pneumonia": {("lung", "pneumonia")},
    "Atelectasis": {("lung", "atelectasis")},
    "Pneumothorax": {("lung", "pneumothorax")},
    "Pleural Effusion": {("lung", "pleural effusion")},
    "Pleural Other": {("lung", "pleural thickening")},
    "Fracture": {("vertebrae", "fracture"), ("ribs", "fracture")},
    "Support Devices": {("device", "medical material")},
}  # fmt: skip
# as many abnormalities and organs as in CT-GLIP's zero-shot test; the choice is ours
CT_GLIP_LIKE = {
    f"{organ}: {finding}": {(organ, finding)}
    for organ, names in {
        "lung": ("nodule", "consolidation", "pleural effusion", "emphysema", "atelectasis"),
        "heart": ("cardiomegaly", "pericardial effusion"), "liver": ("steatosis", "cyst", "metastases"),
        "kidney": ("stone", "cyst", "hydronephrosis"), "gallbladder": ("gallstone",), "spleen": ("splenomegaly",),
        "pancreas": ("mass",),
    }.items()
    for finding in names
}  # fmt: skip
