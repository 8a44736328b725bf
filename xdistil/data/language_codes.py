"""Language codes: what counts as one before a label, and one spelling for each.

`neg:food` and `en:food` look alike, and ISO 639-3 has a language for most words of three letters
(neg is Negidal). So only the codes of ISO 639-1 and 639-2 count, and those of ISO 639-3 that
multilingual corpora and Wikipedia use, each with any subtags (`pt-BR`, `ace_Arab`).
"""

import re
from functools import lru_cache

LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*")
_SUBTAG = re.compile(r"[-_]")
_TWO_LETTERS = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy "
    "da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu "
    "hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb "
    "lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om "
    "or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw "
    "ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu "
)
_THREE_LETTERS = (  # ISO 639-2, bibliographic and terminological codes
    "aar abk ace ach ada ady afa afh afr ain aka akk alb ale alg alt amh ang anp apa ara arc arg "
    "arm arn arp art arw asm ast ath aus ava ave awa aym aze bad bai bak bal bam ban baq bas bat "
    "bej bel bem ben ber bho bih bik bin bis bla bnt bod bos bra bre btk bua bug bul bur byn cad "
    "cai car cat cau ceb cel ces cha chb che chg chi chk chm chn cho chp chr chu chv chy cmc cnr "
    "cop cor cos cpe cpf cpp cre crh crp csb cus cym cze dak dan dar day del den deu dgr din div "
    "doi dra dsb dua dum dut dyu dzo efi egy eka ell elx eng enm epo est eus ewe ewo fan fao fas "
    "fat fij fil fin fiu fon fra fre frm fro frr frs fry ful fur gaa gay gba gem geo ger gez gil "
    "gla gle glg glv gmh goh gon gor got grb grc gre grn gsw guj gwi hai hat hau haw heb her hil "
    "him hin hit hmn hmo hrv hsb hun hup hye iba ibo ice ido iii ijo iku ile ilo ina inc ind ine "
    "inh ipk ira iro isl ita jav jbo jpn jpr jrb kaa kab kac kal kam kan kar kas kat kau kaw kaz "
    "kbd kha khi khm kho kik kin kir kmb kok kom kon kor kos kpe krc krl kro kru kua kum kur kut "
    "lad lah lam lao lat lav lez lim lin lit lol loz ltz lua lub lug lui lun luo lus mac mad mag "
    "mah mai mak mal man mao map mar mas may mdf mdr men mga mic min mkd mkh mlg mlt mnc mni mno "
    "moh mon mos mri msa mun mus mwl mwr mya myn myv nah nai nap nau nav nbl nde ndo nds nep new "
    "nia nic niu nld nno nob nog non nor nqo nso nub nwc nya nym nyn nyo nzi oci oji ori orm osa "
    "oss ota oto paa pag pal pam pan pap pau peo per phi phn pli pol pon por pra pro pus que raj "
    "rap rar roa roh rom ron rum run rup rus sad sag sah sai sal sam san sas sat scn sco sel sem "
    "sga sgn shn sid sin sio sit sla slk slo slv sma sme smi smj smn smo sms sna snd snk sog som "
    "son sot spa sqi srd srn srp srr ssa ssw suk sun sus sux swa swe syc syr tah tai tam tat tel "
    "tem ter tet tgk tgl tha tib tig tir tiv tkl tlh tli tmh tog ton tpi tsi tsn tso tuk tum tup "
    "tur tut tvl twi tyv udm uga uig ukr umb urd uzb vai ven vie vol vot wak wal war was wel wen "
    "wln wol xal xho yao yap yid yor ypk zap zbl zen zgh zha zho znd zul zun zza "
)
_OF_CORPORA = (  # ISO 639-3: Wikipedia, Universal Dependencies, FLORES-200, MasakhaNER, AfriSenti
    "acm acq aeb ajp als apc apu aqz arb arq arr ars ary arz ayr azb azj bar bbj bjn bxr cbk cjk "
    "ckb dik diq esu fuv gan gaz gub gun guz hak hbo hyw jaa kbp kea kfm khk kmr knc koi kpv ksh "
    "lij lmo ltg lzh mhr mzn nhi nov npi nus nyq olo orv ory otk pbt pcm pdc pes plt pms pnb prs "
    "quy rmy soj swl szl taq tpn tzm uzn vec vep vls wbp wuu xmf xnr ydd yii yue zea zsm "
)
CODES = frozenset((_TWO_LETTERS + _THREE_LETTERS + _OF_CORPORA).split())
_WIKIPEDIAS = frozenset(("simple", "be-x-old"))


def is_language(name: str) -> bool:
    """Whether a name before a colon is certainly a language: a known code, with any subtags."""
    if not LANGUAGE_CODE.fullmatch(name):
        return name.lower() in _WIKIPEDIAS
    return _SUBTAG.split(name.lower())[0] in CODES


@lru_cache(maxsize=4096)
def fold_language(name: str) -> str:
    """One spelling of a language code: `EN` is en, `zh-hans` is zh-Hans, `pt-br` is pt-BR.

    Names that are no codes stay as they are.
    """
    if not LANGUAGE_CODE.fullmatch(name):
        return name
    first, *rest = re.split(r"([-_])", name)
    folded = [first.lower()]
    for part in rest:
        if len(part) == 4 and part.isalpha():
            part = part.title()
        elif len(part) == 2 and part.isalpha():
            part = part.upper()
        else:
            part = part.lower()
        folded.append(part)
    return "".join(folded)
