"""What radiologists write about head MR. The last two wordings of each table are held out: only test reports use them.

Slots: {where} place with article, {shape} punctate, patchy, large or mass-like, {tone} high, low or mixed, {size} with unit.
"""

N_HELD_OUT = 2

# signal -> sentences that say it of a place
ABNORMAL = {
    "high": (
        "{shape} high signal in {where}, {size}.", "{where} shows {shape} high signal of {size}.",
        "there is {shape} hyperintensity in {where}, {size}.", "a {shape} hyperintense area of {size} in {where}.",
        "{shape} increased signal in {where} measuring {size}.", "{where}: {shape} hyperintense change, {size}.",
        "a {shape} bright lesion in {where} ({size}).", "signal is increased in {where}, {shape}, {size} across.",
        "{shape} elevated signal occupies {size} of {where}.", "an abnormally bright {shape} area lies in {where}, {size}.",
    ),
    "low": (
        "{shape} low signal in {where}, {size}.", "{where} shows {shape} low signal of {size}.",
        "there is {shape} hypointensity in {where}, {size}.", "a {shape} hypointense area of {size} in {where}.",
        "{shape} decreased signal in {where} measuring {size}.", "{where}: {shape} hypointense change, {size}.",
        "a {shape} dark lesion in {where} ({size}).", "signal is decreased in {where}, {shape}, {size} across.",
        "{shape} reduced signal occupies {size} of {where}.", "an abnormally dark {shape} area lies in {where}, {size}.",
    ),
    "mixed": (
        "{shape} mixed signal in {where}, {size}.", "{where} shows {shape} mixed signal of {size}.",
        "there is a {shape} heterogeneous lesion in {where}, {size}.", "a {shape} area of mixed signal, {size}, in {where}.",
        "{shape} heterogeneous signal in {where} measuring {size}.", "{where}: {shape} inhomogeneous change, {size}.",
        "a {shape} lesion of both high and low signal in {where} ({size}).",
        "signal is heterogeneous in {where}, {shape}, {size} across.",
        "{shape} uneven signal occupies {size} of {where}.", "a partly bright, partly dark {shape} area lies in {where}, {size}.",
    ),
    "surrounding": (
        "{tone} signal oedema around the mass in {where}.", "the lesion in {where} is surrounded by {tone} signal oedema.",
        "surrounding oedema in {where} with {tone} signal.", "perifocal {tone} signal in {where}, likely oedema.",
        "a rim of {tone} signal surrounds the mass in {where}.", "oedema of {tone} signal about the lesion in {where}.",
        "{where}: surrounding {tone} signal of vasogenic oedema.", "finger-like {tone} signal around the mass in {where}.",
        "perilesional zone of {tone} signal in {where}.", "adjacent {tone} signal swelling of {where} around the mass.",
    ),
    "enlargement": (
        "the ventricular system is enlarged.", "enlargement of the ventricular system.", "the lateral ventricles are wide.",
        "wide ventricular system.", "there is dilatation of the ventricular system.", "the ventricles are dilated.",
        "ventriculomegaly.", "the supratentorial ventricles are enlarged.",
        "distended ventricles.", "the ventricular system is wider than normal.",
    ),
    "widening": (
        "the cerebral sulci are widened.", "widening of the cerebral sulci.", "wide sulci.", "there is widening of the sulci.",
        "the sulci are wide for age.", "prominent cerebral sulci.", "the cortical sulci are widened.",
        "wide subarachnoid spaces over the hemispheres.",
        "deepened, open sulci.", "the sulci gape more than expected.",
    ),
}  # fmt: skip

# kind -> what the impression says of it; some are in doubt
IMPRESSION = {
    "acute infarct": (
        "acute infarct in {where}.", "acute ischaemic infarct of {where}.", "recent infarct in {where}.",
        "acute infarction of {where}.", "likely acute infarct in {where}.", "suspected recent infarct of {where}.",
        "acute stroke in {where}.", "findings suggest an acute infarct in {where}.",
        "fresh infarct of {where}.", "{where}: infarction of recent onset.",
    ),
    "old infarct": (
        "old infarct in {where}.", "chronic infarct of {where}.", "infarct of older date in {where}.",
        "sequela of an infarct in {where}.", "probable old infarct in {where}.", "post-ischaemic defect of {where}.",
        "chronic infarction in {where}.", "encephalomalacia after infarct in {where}.",
        "long-standing infarct of {where}.", "{where}: residual cavity of an infarct.",
    ),
    "white-matter hyperintensity": (
        "white-matter lesion in {where}, likely small vessel disease.", "microangiopathic change in {where}.",
        "leukoaraiosis of {where}.", "possible small vessel changes in {where}.", "microangiopathy of {where}.",
        "gliosis in {where}, probably vascular.", "small vessel disease in {where}.", "chronic vascular lesions of {where}.",
        "nonspecific white-matter changes in {where}.", "{where}: change due to small vessels.",
    ),
    "haemorrhage": (
        "haemorrhage in {where}.", "intracerebral haemorrhage of {where}.", "haematoma in {where}.", "bleeding into {where}.",
        "parenchymal haemorrhage in {where}.", "probable haematoma of {where}.", "suspected haemorrhage in {where}.",
        "intraparenchymal haematoma of {where}.",
        "blood collection in {where}.", "{where}: haemorrhagic lesion.",
    ),
    "tumour": (
        "tumour in {where}.", "mass in {where}, suspicious for glioma.", "space-occupying tumour of {where}.",
        "probable glioma in {where}.", "neoplasm of {where}.", "brain tumour in {where}.", "mass in {where}, likely a tumour.",
        "possible high-grade glioma in {where}.",
        "expansile neoplastic lesion of {where}.", "{where}: tumorous mass.",
    ),
    "wide ventricles": (
        "hydrocephalus.", "ventriculomegaly.", "possible hydrocephalus.", "enlarged ventricles.", "dilated ventricles.",
        "probable hydrocephalus.", "dilatation of the ventricles.", "wide ventricular system.",
        "disturbed circulation of fluid, wide ventricles.", "ventricular dilatation.",
    ),
    "atrophy": (
        "cerebral atrophy.", "brain atrophy.", "generalised atrophy of the brain.", "cortical atrophy of the brain.",
        "atrophy of the cerebral hemispheres.", "probable brain atrophy.", "global cerebral atrophy.", "cerebral volume loss.",
        "shrinkage of the brain.", "atrophic brain.",
    ),
}  # fmt: skip

# what a report may say is not there
DENIAL = {
    "acute infarct": (
        "no restricted diffusion.", "no diffusion restriction.", "no area of restricted diffusion.",
        "no evidence of diffusion restriction.", "there is no restriction of diffusion.", "negative for restricted diffusion.",
        "restricted diffusion is not seen.", "without diffusion restriction.",
        "diffusion restriction is absent.", "diffusion is nowhere restricted.",
    ),
    "haemorrhage": (
        "no haemorrhage.", "no haematoma.", "no intracranial haemorrhage.", "no evidence of haemorrhage.",
        "there is no haemorrhage.", "negative for haemorrhage.", "haemorrhage is not seen.", "without haemorrhage.",
        "haemorrhage is absent.", "no blood products.",
    ),
    "tumour": (
        "no mass.", "no intracranial mass.", "no space-occupying lesion.", "no evidence of a tumour.", "there is no mass.",
        "negative for a mass.", "a mass is not seen.", "without a mass.",
        "a mass is absent.", "nothing space-occupying.",
    ),
    "wide ventricles": (
        "no hydrocephalus.", "no ventriculomegaly.", "no evidence of hydrocephalus.", "there is no hydrocephalus.",
        "the ventricles are not enlarged.", "negative for hydrocephalus.", "hydrocephalus is not seen.",
        "no ventricular dilatation.",
        "hydrocephalus is absent.", "ventricles without dilatation.",
    ),
    "midline shift": (
        "no midline shift.", "no shift of the midline.", "no evidence of midline shift.", "there is no midline shift.",
        "the midline is not shifted.", "negative for midline shift.", "midline shift is not seen.", "without midline shift.",
        "midline shift is absent.", "midline structures in place.",
    ),
}  # fmt: skip
# part -> the places it stands for, and what is said of it if none of them has a finding
NORMAL_PLACES = {
    "cortex": ("frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe"),
    "white matter": ("frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe", "centrum semiovale",
                     "periventricular white matter"),
    "deep grey matter": ("basal ganglia", "thalamus"),
    "posterior fossa": ("pons", "cerebellum"),
    "ventricles": ("ventricular system",),
    "sulci": ("cerebral sulci",),
}  # fmt: skip
NORMAL = {
    "cortex": (
        "the cortex is normal.", "normal cortical signal.", "unremarkable cortex.", "no cortical lesion.",
        "the cortical ribbon is intact.", "no abnormality of the cortex.", "the cortex shows normal signal.",
        "grey matter of the hemispheres is normal.",
        "cortex without focal change.", "regular cortical mantle.",
    ),
    "white matter": (
        "the white matter is normal.", "normal white matter signal.", "unremarkable white matter.", "no white-matter lesion.",
        "no focal lesion of the white matter.", "no abnormality of the white matter.", "the white matter shows normal signal.",
        "homogeneous white matter.",
        "white matter without focal change.", "regular white matter.",
    ),
    "deep grey matter": (
        "the deep grey matter is normal.", "basal ganglia and thalami are normal.", "unremarkable deep nuclei.",
        "no lesion of the basal ganglia or thalami.", "normal signal of the deep nuclei.",
        "no abnormality of the deep grey matter.",
        "the basal ganglia and thalami show normal signal.", "normal basal ganglia and thalami.",
        "central nuclei without focal change.", "regular deep nuclei.",
    ),
    "posterior fossa": (
        "brainstem and cerebellum are normal.", "normal posterior fossa.", "unremarkable posterior fossa.",
        "no lesion of the brainstem or cerebellum.", "the posterior fossa is unremarkable.",
        "no abnormality of the posterior fossa.", "brainstem and cerebellum show normal signal.", "normal pons and cerebellum.",
        "infratentorial structures without focal change.", "regular infratentorial brain.",
    ),
    "ventricles": (
        "the ventricles are normal in size.", "normal ventricles.", "ventricular system of normal width.",
        "ventricles of normal size.", "the ventricular system is normal.", "no abnormality of the ventricles.",
        "unremarkable ventricular system.", "the ventricles are not dilated.",
        "slender ventricles.", "regular ventricular width.",
    ),
    "sulci": (
        "the sulci are normal.", "normal sulci.", "sulci of normal width.", "the cerebral sulci are not widened.",
        "sulci appropriate for age.", "no abnormality of the sulci.", "unremarkable sulci.", "no atrophy.",
        "slender sulci.", "regular width of the sulci.",
    ),
}  # fmt: skip
SHORT = ("No abnormal signal.", "Normal signal throughout.", "No abnormality on this sequence.")
INDICATION = ("Headache.", "Dizziness.", "Sudden weakness.", "Seizure.", "Confusion.", "Follow-up.", "Visual disturbance.",
              "Gait disorder.", "Memory complaints.", "Speech disturbance.")  # fmt: skip
WHERE = ("the {side} {place}", "the {place} on the {side}")
WHERE_BILATERAL = ("the bilateral {place}", "the {place} on both sides")
# places as they may be called; the first name is the place's own
CALLED = {
    "frontal lobe": ("frontal lobe", "frontal region"), "parietal lobe": ("parietal lobe", "parietal region"),
    "temporal lobe": ("temporal lobe", "temporal region"), "occipital lobe": ("occipital lobe", "occipital region"),
    "basal ganglia": ("basal ganglia", "basal ganglia region"), "thalamus": ("thalamus", "thalamic region"),
    "periventricular white matter": ("periventricular white matter", "periventricular region"),
    "centrum semiovale": ("centrum semiovale", "centrum semiovale region"), "pons": ("pons", "pontine region"),
    "cerebellum": ("cerebellum", "cerebellar hemisphere"),
}  # fmt: skip
