"""Where organs lie in an average man: (x, y, z) mm in the body coordinates of `anatomy`, and how bright they are (HU)."""

AIR, LUNG, FAT, MUSCLE, BONE, MARROW, SKIN = -1000.0, -855.0, -105.0, 58.0, 620.0, 240.0, 10.0
BLOOD = 150.0  # portal-venous phase
TABLE_HU, FOAM_HU = -90.0, -940.0
# half-axes (mm) of the muscle's outer surface at these heights
HEIGHTS = (0, 60, 130, 200, 290, 370, 450, 500, 544)
MUSCLE_X = (150, 154, 143, 130, 136, 144, 146, 146, 138)
MUSCLE_Y = (82, 86, 82, 79, 88, 96, 90, 76, 62)
WALL_X = (62, 58, 30, 15, 14, 15, 20, 34, 44)  # thickness of wall (muscle, ribs) at the side
WALL_Y = (26, 24, 18, 14, 13, 13, 14, 16, 18)
N_CHEST_HEIGHTS = 7  # of them reach the chest; above, the shoulders begin
APEX_MM, APEX_START_MM = 536.0, 425.0  # where the lungs end, and where they begin to narrow
DOME_LOW_MM = 255.0  # its lowest edge
DOME_MM = {"left": 336.0, "right": 350.0}  # top of the diaphragm

# name, HU, centre, radii, turn
ABDOMEN = (
    ("spleen", 122, (98, 34, 298), (27, 46, 56), -0.5),
    ("stomach", 60, (52, -26, 302), (42, 40, 50), 0.3),
    ("kidney_left", 160, (62, 36, 242), (27, 27, 56), 0.5),
    ("kidney_right", 160, (-64, 36, 226), (27, 27, 56), -0.5),
    ("gallbladder", 12, (-58, -50, 226), (20, 24, 34), 0.0),
    ("urinary_bladder", 8, (0, -34, 58), (42, 34, 36), 0.0),
)
LIVER = (((-64, 0, 286), (68, 72, 82)), ((0, -44, 306), (72, 34, 40)))  # right and left lobe
HEART = ((26, -30, 376), (60, 46, 50), 0.5)
CHAMBERS = (  # centre against the heart's, radii: blood inside the muscle
    ((22, 8, -6), (20, 20, 28)), ((-10, -18, -4), (26, 16, 32)), ((-32, 6, 8), (17, 20, 30)), ((2, 26, 20), (28, 14, 18)),
)  # fmt: skip
PANCREAS = (((-34, -4, 232), 17), ((-16, -14, 244), 14), ((14, -22, 256), 12), ((44, -4, 268), 13), ((72, 16, 280), 12))
AORTA = (  # centre line with radii; the last four points are its abdominal part
    ((-6, -18, 392), 16), ((-18, -30, 430), 16), ((-8, -18, 462), 15), ((12, 10, 468), 14), ((24, 34, 448), 13),
    ((26, 38, 400), 12), ((18, 40, 330), 11.5), ((5, 30, 270), 11), ((3, 26, 220), 10), ((3, 26, 165), 9.5),
)  # fmt: skip
# name ("" is unlabelled), HU, start, end, radius
THORAX_TUBES = (
    ("esophagus", 40, (4, 30, 545), (8, 26, 320), 9),
    ("", BLOOD, (-26, -14, 395), (-26, -14, 500), 10),  # superior vena cava
    ("", BLOOD, (16, -44, 400), (16, -20, 432), 14),  # pulmonary trunk and arteries
    ("", BLOOD, (14, -14, 428), (-48, 4, 420), 10),
    ("", BLOOD, (16, -14, 430), (52, 6, 430), 10),
    ("", BLOOD, (-34, -12, 500), (-50, -10, 545), 7),
    ("", BLOOD, (30, -12, 480), (46, -10, 545), 7),
    ("trachea", -990, (0, 8, 545), (0, 12, 440), 9),
    ("", -960, (0, 12, 440), (-32, 12, 412), 7),
    ("", -960, (0, 12, 440), (36, 14, 410), 6.5),
)
ABDOMEN_TUBES = (
    ("inferior_vena_cava", 135, (-24, 24, 165), (-26, 12, 345), 12),
    ("", 150, (-6, -4, 236), (-30, -18, 285), 8),  # portal vein
    ("", 150, (0, -14, 190), (2, -12, 240), 6),  # superior mesenteric vein
    ("", BLOOD, (3, 26, 165), (46, 8, 80), 6.5), ("", BLOOD, (3, 26, 165), (-40, 8, 80), 6.5),
    ("", BLOOD, (46, 8, 80), (62, -48, 20), 6), ("", BLOOD, (-40, 8, 80), (-60, -48, 20), 6),
)  # fmt: skip
MUSCLES = (  # centre, radii; mirrored
    ((38, 52, 155), (19, 19, 80)), ((36, 82, 260), (27, 17, 240)), ((52, -4, 60), (16, 16, 60)),
)  # fmt: skip
COLON = (  # start, end, radius
    ((-98, -6, 130), (-100, -2, 200), 24), ((-100, -20, 200), (-60, -58, 188), 19), ((-60, -58, 188), (50, -60, 190), 18),
    ((50, -60, 190), (102, -8, 262), 17), ((104, 14, 262), (102, 14, 130), 16), ((100, 14, 130), (48, 4, 92), 15),
    ((48, 4, 92), (0, 30, 84), 15), ((0, 38, 84), (0, 46, 5), 17),
)  # fmt: skip
BOWEL_LOW, BOWEL_HIGH = (-72, -56, 92), (84, 4, 222)  # corners of the block that small bowel loops lie in
SPINE = ((0, 92, 20), (0, 84, 80), (0, 60, 130), (0, 55, 190), (0, 60, 270), (0, 68, 370), (0, 64, 460), (0, 54, 545))
SPINE_RADII = (24, 18)  # of a vertebral body: x, y
HIPS = (  # centre, radii, turn: mirrored; iliac wing, acetabulum, ischium, pubis, femoral head
    ((92, 24, 122), (13, 54, 62), 0.55), ((98, 14, 50), (30, 30, 28), 0.0), ((66, 40, 10), (22, 24, 34), 0.0),
    ((32, -44, 18), (34, 12, 14), 0.4),
)  # fmt: skip
FEMORAL_HEAD = ((112, 8, 36), (24, 24, 25))
TROCHANTER = ((146, 18, 16), (18, 20, 24))
