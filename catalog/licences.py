"""The licences of model files, and whether each lets a business use a file."""

APACHE = "Apache-2.0"
APACHE_GFPGAN = "Apache-2.0 (parts from StyleGAN2, see its LICENSE)"
GPL = "GPL-3.0"
GPL_OR_AGPL = "GPL-3.0 or AGPL-3.0 (sources differ)"
INSIGHTFACE = "InsightFace, non-commercial"
MIT = "MIT"
MIT_OR_BSD = "MIT or BSD-3-Clause (sources differ)"
NON_COMMERCIAL = "non-commercial"
OPENRAIL = "OpenRAIL-MS"
RESEARCH_RAIL = "FaceFusion ResearchRAIL"
S_LAB = "S-Lab 1.0, non-commercial"
UNSTATED = "not stated"
BY_FILE = "see the file's source"

# None: not stated, or sources disagree.
COMMERCIAL_USE: dict[str, bool | None] = {
    APACHE: True,
    APACHE_GFPGAN: True,
    GPL: True,
    GPL_OR_AGPL: None,
    INSIGHTFACE: False,
    MIT: True,
    MIT_OR_BSD: True,
    NON_COMMERCIAL: False,
    OPENRAIL: None,
    RESEARCH_RAIL: False,
    S_LAB: False,
    UNSTATED: None,
    BY_FILE: None,
}
