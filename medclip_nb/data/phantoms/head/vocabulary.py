"""What a head is made of and how it looks on each sequence; which lesions there are, where and how they look.

Intensities are relative: white matter on T1 is 0.7. Numbers for sequences are in the order of SEQUENCES.
"""

SEQUENCES = ("T1", "T2", "FLAIR", "DWI")
# tissue -> its intensities; bone and air have none; "texture" is the template's own detail, of mean 0
CONTRAST = {
    "fat": (1.05, 0.74, 0.90, 0.13), "muscle": (0.40, 0.26, 0.32, 0.16), "csf": (0.16, 0.93, 0.13, 0.10),
    "ventricle": (0.14, 0.95, 0.09, 0.09), "grey": (0.47, 0.57, 0.57, 0.49), "white": (0.71, 0.40, 0.44, 0.40),
    "texture": (0.90, -0.60, -0.30, -0.30),
}  # fmt: skip
TISSUES = tuple(CONTRAST)

LOBES = ("frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe")
PLACES = (
    "pons", "cerebellum", "thalamus", "basal ganglia", "periventricular white matter", "centrum semiovale", *LOBES,
)  # fmt: skip
SIDES = ("left", "right")
BOTH = "bilateral"
BILATERAL = ("periventricular white matter", "centrum semiovale")  # where hyperintensities may be on both sides
# labels of the region masks; air is 0
REGIONS = {
    name: label
    for label, name in enumerate(
        [*(f"{s} {p}" for p in PLACES for s in SIDES), "other brain", "ventricles", "cerebrospinal fluid", "skull and scalp"], 1
    )
}

VESSELS = (*LOBES, "basal ganglia", "thalamus", "centrum semiovale", "cerebellum")
# kind -> its share of all lesions, where it may be (named twice: twice as often), smallest and largest radius.
# The order is the order in which they are drawn.
KINDS = {
    "wide ventricles": {"weight": 0.08},
    "atrophy": {"weight": 0.07},
    "tumour": {"weight": 0.12, "places": (*LOBES, "cerebellum"), "radius_mm": (12, 20)},
    "haemorrhage": {
        "weight": 0.15, "places": (*("basal ganglia", "thalamus") * 2, *LOBES, "cerebellum", "pons"), "radius_mm": (11, 20),
    },
    "old infarct": {"weight": 0.16, "places": VESSELS, "radius_mm": (11, 22)},
    "acute infarct": {"weight": 0.23, "places": (*VESSELS, "pons"), "radius_mm": (10, 24)},
    "white-matter hyperintensity": {
        "weight": 0.19, "places": (*BILATERAL * 3, "frontal lobe", "parietal lobe"), "radius_mm": (7, 14),
    },
}  # fmt: skip
SYSTEMS = {"wide ventricles": "ventricular system", "atrophy": "cerebral sulci"}  # kinds without a side -> their location
ONCE = (*SYSTEMS, "tumour")  # at most one of each in a study
OEDEMA = "oedema"  # lies around each tumour, with a label of its own
LARGEST_MM = {"pons": 10.0, "thalamus": 11.0, "basal ganglia": 15.0, "centrum semiovale": 15.0}  # radius in a small place

NONE = (0.0,) * 4
# intensities of a lesion's core and rim, the rim's width, the standard deviation inside the core
LOOKS = {
    "acute infarct": {"core": (0.40, 0.78, 0.84, 1.05)},
    "old infarct": {"core": (0.20, 0.93, 0.15, 0.14), "rim": (0.38, 0.75, 0.80, 0.42), "rim_mm": 4.0},
    "white-matter hyperintensity": {"core": (0.61, 0.73, 0.86, 0.42)},
    "acute haemorrhage": {"core": (0.45, 0.18, 0.22, 0.12), "rim": (0.42, 0.74, 0.78, 0.45), "rim_mm": 5.0},
    "early haemorrhage": {"core": (1.02, 0.16, 0.20, 0.10), "rim": (0.42, 0.74, 0.78, 0.45), "rim_mm": 5.0},
    "late haemorrhage": {"core": (1.02, 0.95, 1.00, 0.85), "rim": (0.36, 0.14, 0.16, 0.10), "rim_mm": 4.0},
    "tumour": {
        "core": (0.36, 0.70, 0.68, 0.48), "rim": (0.45, 0.80, 0.84, 0.42), "rim_mm": 12.0, "uneven": (0.11, 0.22, 0.20, 0.08),
    },
}  # fmt: skip
STAGES = ("acute haemorrhage", "early haemorrhage", "late haemorrhage")

# face and neck, painted in this order over scalp and muscle: tissue, centre and radii (mm; x on both sides)
FACE = (
    ("fat", (0, 36, -62), (62, 66, 62)), ("muscle", (0, 22, -66), (54, 58, 44)), ("muscle", (62, 14, -34), (11, 30, 40)),
    ("muscle", (28, -92, -78), (34, 30, 34)), ("dark", (0, 34, -48), (34, 36, 18)), ("fat", (31, 48, -36), (17, 24, 16)),
    ("csf", (32, 60, -36), (12.5, 12.5, 12.5)), ("dark", (0, 66, -52), (9, 28, 26)), ("dark", (0, 16, -40), (11, 12, 8)),
    ("dark", (27, 52, -72), (14, 18, 14)), ("dark", (50, -34, -42), (13, 15, 16)), ("fat", (0, 96, -46), (12, 14, 22)),
)  # fmt: skip
