"""Labels of languages in any of their forms (`de`, `deu`, `deu_Latn`, `de-DE`), and which of some known ones is meant.

Codes are those of ISO 639-1, 639-2 and 639-3, scripts those of ISO 15924. A macrolanguage (`ara`, `zho`) stands for
its member with most text, as the labels of GlotLID and of FineWeb-2 do.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["LanguageLabel", "LanguageLabels", "is_english", "parse_label"]

_TWO_LETTERS = """
aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul bi:bis bm:bam
bn:ben bo:bod br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces cu:chu cv:chv cy:cym da:dan de:deu dv:div dz:dzo
ee:ewe el:ell en:eng eo:epo es:spa et:est eu:eus fa:fas ff:ful fi:fin fj:fij fo:fao fr:fra fy:fry ga:gle gd:gla gl:glg
gn:grn gu:guj gv:glv ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye hz:her ia:ina id:ind ie:ile ig:ibo ii:iii
ik:ipk io:ido is:isl it:ita iu:iku ja:jpn jv:jav ka:kat kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau
ks:kas ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah mi:mri
mk:mkd ml:mal mn:mon mr:mar ms:msa mt:mlt my:mya na:nau nb:nob nd:nde ne:nep ng:ndo nl:nld nn:nno no:nor nr:nbl nv:nav
ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron ru:rus rw:kin
sa:san sc:srd sd:snd se:sme sg:sag sh:hbs si:sin sk:slk sl:slv sm:smo sn:sna so:som sq:sqi sr:srp ss:ssw st:sot su:sun
sv:swe sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig
uk:ukr ur:urd uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha zh:zho zu:zul
"""
"""ISO 639-1 to ISO 639-3."""

_ALSO = """
alb:sqi arm:hye baq:eus bur:mya chi:zho cze:ces dut:nld fre:fra geo:kat ger:deu gre:ell ice:isl mac:mkd mao:mri may:msa
per:fas rum:ron slo:slk tib:bod wel:cym bh:bho bih:bho in:ind iw:heb ji:yid jw:jav mo:ron scr:hrv scc:srp eml:egl
"""
"""The bibliographic codes of ISO 639-2, and withdrawn codes."""

_MEMBERS = """
ara:arb aze:azj aym:ayr bua:bxr est:ekk fas:pes fil:tgl grn:gug hbs:hrv iku:ike kok:gom kom:kpv kur:kmr lav:lvs mlg:plt
mon:khk msa:zsm nep:npi nor:nob ori:ory orm:gaz pus:pbt que:quy sqi:als swa:swh uzb:uzn yid:ydd zho:cmn
"""
"""Macrolanguages to the member with most text; Filipino is the standard form of Tagalog."""

_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Kore": "Hang", "Hrkt": "Jpan", "Hira": "Jpan", "Kana": "Jpan",
            "Aran": "Arab"}  # fmt: skip
"""Scripts that are one for our purpose."""

_LID_176 = {"als": "gsw"}
"""What fastText's lid.176 calls by a code of Wikipedia's that means another language in ISO 639-3: only bare, as
`als_Latn` is Albanian."""


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in text.split())


_CODES: Mapping[str, str] = _pairs(_TWO_LETTERS) | _pairs(_ALSO)
_INDIVIDUAL: Mapping[str, str] = _pairs(_MEMBERS)
_SEPARATOR = re.compile(r"[-_]")


class LanguageLabel(NamedTuple):
    """A language, and perhaps a script.

    Attributes:
        language: three letters of ISO 639-3, of the member with most text for a macrolanguage.
        script: four letters of ISO 15924; None if the label names none.
    """

    language: str
    script: str | None


def parse_label(label: str) -> LanguageLabel | None:
    """Return what a label means, None if it has not the form of one.

    Taken are two and three letters with or without a script or region: `de`, `ger`, `deu_Latn`, `zh-Hant-TW`,
    `zh-yue`, `pt_BR.UTF-8`, `__label__deu_Latn`. A code of three letters needn't be known.
    """
    plain = label.strip().removeprefix("__label__").partition(".")[0].partition("@")[0]
    language, *rest = _SEPARATOR.split(plain)
    language = language.lower()
    if not language.isascii() or not language.isalpha() or len(language) not in (2, 3):
        return None
    script = None
    for part in rest:
        if not part.isascii() or not part.isalnum():
            return None
        if len(part) == 4 and part.isalpha() and script is None:
            script = part.title()
        elif len(part) == 3 and part.isalpha() and part is rest[0]:
            language = part.lower()  # a language of a macrolanguage, such as zh-yue
    if len(language) == 2 and language not in _CODES:
        return None
    if script is None:
        language = _LID_176.get(language, language)
    language = _CODES.get(language, language)
    return LanguageLabel(_INDIVIDUAL.get(language, language), script and _SCRIPTS.get(script, script))


def is_english(label: str | None) -> bool:
    """Tell whether a label means English."""
    parsed = None if label is None else parse_label(label)
    return parsed is not None and parsed.language == "eng"


class LanguageLabels:
    """Some known labels, and which of them another label means.

    A label that is among them is itself. Others are compared by what they mean: languages must be the same, and
    scripts where both name one. Where several are left, the first is meant, so that known ones stand in the order of
    their importance.

    Args:
        known: the labels, of any form; such as are no labels of languages are found by their very text.
    """

    def __init__(self, known: Iterable[str]):
        self._known = dict.fromkeys(known)
        self._found: dict[str | None, str | None] = {name: name for name in self._known}
        self._by_language: dict[str, list[tuple[str | None, str]]] = {}
        for name in self._known:
            label = parse_label(name)
            if label is not None:
                self._by_language.setdefault(label.language, []).append((label.script, name))

    def find(self, label: str | None) -> str | None:
        """Return the known label that is meant, None if there is none."""
        if label not in self._found:
            self._found[label] = self._find(label)
        return self._found[label]

    def _find(self, label: str | None) -> str | None:
        parsed = None if label is None else parse_label(label)
        if parsed is None:
            return None
        for script, name in self._by_language.get(parsed.language, ()):
            if parsed.script is None or script is None or script == parsed.script:
                return name
        return None
