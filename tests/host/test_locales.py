"""The page's texts as the host serves them, held against what the nodes say of themselves."""

import json

import pytest
from slimfusion.bench.texts import english_texts, flat, languages, read

pytestmark = [pytest.mark.host, pytest.mark.parametrize("lab", ["default"], indirect=True)]


def test_english_is_what_the_nodes_say(lab):
    """Written anew by `python dev.py bench texts`."""
    assert read("en", "nodeDefs.json") == english_texts(lab.info)


def test_every_node_input_and_output_explains_itself(lab):
    texts = dict(flat(english_texts(lab.info)))
    assert len([path for path in texts if path.endswith(".display_name")]) >= 16
    assert [path for path, text in texts.items() if not text] == []


def test_the_host_serves_every_language(lab):
    served = lab.host.get("/i18n")
    for language in languages():
        for name, texts in read(language, "nodeDefs.json").items():
            assert served[language]["nodeDefs"][name] == json.loads(json.dumps(texts))
        assert served[language]["settings"].items() >= read(language, "settings.json").items()


def test_search_words_reach_the_page_where_the_host_knows_them(lab):
    """Hosts before 0.11 have no field for them and must not be given one."""
    known = "search_aliases" in lab.info["KSampler"]
    words = {name: node.get("search_aliases") for name, node in lab.info.items() if name.startswith("SlimFusion")}
    assert all(words.values()) if known else not any(words.values())
