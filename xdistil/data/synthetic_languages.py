"""The eight small languages of the generated corpus: words, markers and the syllables of names.

The function words are those of real languages, the grammars are simplified, and every name is made
of syllables. Lists are separated by ", ". In a pattern `_` stands for a phrase: prepositions
("in _"), postpositions ("_ में"), prefixes ("ب_"), suffixes ("_에서") and titles ("Dr. _"). In a
suffix, A and I are vowels chosen by the last vowel before it (vowel harmony) and V is that vowel
again; # in a time is a year.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """Grammar and vocabulary of one language; texts are lists separated by ", "."""

    code: str
    script: str  # the name of its letters in Unicode
    cased: bool  # names and the first word of a sentence are capitalised
    orders: str  # of subject S, verb V, object O, oblique I and time T
    harmony: str  # back vowels, then each letter with its back and front vowel; empty: none
    person: str  # patterns of a full name
    syllables: str  # of all names
    doubles: str  # ordinary nouns that are also names
    person_endings: str
    place_endings: str
    organisation_endings: str
    place_patterns: str  # several words, all inside the name
    organisation_patterns: str
    titles: str  # before or after a person, outside the name
    singer: str  # what a person, a place or an organisation is, outside the name
    city: str
    company: str
    subject: str  # markers; "here" is where something happens
    object: str
    here: str
    near: str
    to: str
    source: str
    address: str
    company_of: str
    sake: str
    person_acts: str  # verbs, by what they take
    makes: str
    moves: str
    leaves: str
    addresses: str
    organisation_acts: str
    buys: str
    meets: str
    visits: str
    place_acts: str
    happens: str
    noun_phrase: str
    adjective_phrase: str  # A is the adjective
    nouns: str
    people: str
    adjectives: str
    adverbs: str
    times: str
    conjunctions: str
    comma: str
    stop: str

    def list(self, name: str) -> tuple[str, ...]:
        """The entries of one of the lists."""
        return tuple(entry for entry in getattr(self, name).split(", ") if entry)


ENGLISH = Language(
    code="en",
    script="LATIN",
    cased=True,
    orders="SVOIT, SVOIT, TSVOI",
    harmony="",
    person="given family",
    syllables="mar, lo, wen, ta, bri, den, ha, ros, kel, vi, dor, sha, nel, ga",
    doubles="rose, stone, wolf, star",
    person_endings="son, man",
    place_endings="ton, ford",
    organisation_endings="tech, corp",
    place_patterns="Lake _, New _",
    organisation_patterns="_ Bank, University of _, _ Group",
    titles="Dr. _, Mrs. _",
    singer="the singer _, the lawyer _",
    city="the city of _, the village of _",
    company="the company _, the club _",
    subject="_",
    object="_",
    here="in _",
    near="near _",
    to="to _",
    source="from _",
    address="to _",
    company_of="with _",
    sake="for _",
    person_acts="smiled, sang, laughed, danced",
    makes="wrote, painted, repaired",
    moves="travelled, fled, walked",
    leaves="resigned, graduated, borrowed money",
    addresses="spoke, lied, bowed",
    organisation_acts="merged, went bankrupt, raised prices",
    buys="acquired, sued, founded",
    meets="married, hugged, interviewed, thanked",
    visits="visited, explored, reached, occupied",
    place_acts="flooded, burned down, froze over",
    happens="fell, broke, shone, waited",
    noun_phrase="the _, a _, every _",
    adjective_phrase="A _",
    nouns="book, river, bank, letter, bridge, lake",
    people="teacher, doctor, soldier",
    adjectives="old, new, small",
    adverbs="slowly, often, again",
    times="on Monday, in May, in #, last week",
    conjunctions="and, but, because",
    comma=",",
    stop=".",
)

TURKISH = Language(
    code="tr",
    script="LATIN",
    cased=True,
    orders="STIOV, TSIOV",
    harmony="aıou Aae Iıi",
    person="given family",
    syllables="kar, de, mir, gül, tan, ay, bo, zü, cem, nur, el, bey, ör, han",
    doubles="deniz, yıldız, kaya, umut",
    person_endings="oğlu, gil",
    place_endings="köy, hisar",
    organisation_endings="san, taş",
    place_patterns="Yeni _, Büyük _",
    organisation_patterns="_ Bankası, _ Üniversitesi, _ Holding",
    titles="_ Bey, _ Hanım",
    singer="şarkıcı _, avukat _",
    city="güzel _ kenti, _ kasabası",
    company="_ şirketi, _ kulübü",
    subject="_",
    object="_'I",
    here="_'dA",
    near="_ yakınında",
    to="_'A",
    source="_'dAn",
    address="_'A",
    company_of="_ ile",
    sake="_ için",
    person_acts="gülümsedi, güldü, dans etti, öksürdü",
    makes="yazdı, boyadı, onardı",
    moves="gitti, kaçtı, yürüdü",
    leaves="istifa etti, mezun oldu, borç aldı",
    addresses="seslendi, yalan söyledi, el salladı",
    organisation_acts="birleşti, iflas etti, zam yaptı",
    buys="satın aldı, dava etti, kurdu",
    meets="öptü, kucakladı, selamladı, gömdü",
    visits="gezdi, keşfetti, işgal etti, boşalttı",
    place_acts="sular altında kaldı, yandı, dondu",
    happens="düştü, kırıldı, parladı, bekledi",
    noun_phrase="_, bir _, her _",
    adjective_phrase="A _",
    nouns="kitap, nehir, banka, mektup, köprü, göl",
    people="öğretmen, doktor, asker",
    adjectives="eski, yeni, küçük",
    adverbs="yavaşça, sık sık, yine",
    times="Pazartesi, Mayıs ayında, # yılında, geçen hafta",
    conjunctions="ve, ama, çünkü",
    comma=",",
    stop=".",
)

RUSSIAN = Language(
    code="ru",
    script="CYRILLIC",
    cased=True,
    orders="SVOIT, TSVOI, OVSIT",
    harmony="",
    person="given family, given family, family given",
    syllables="кал, мор, дин, вет, гор, лен, сар, бел, тим, рос, зар, ник, пол, хар",
    doubles="волк, мороз, дуб, камен",
    person_endings="ов, ин",
    place_endings="град, горск",
    organisation_endings="пром, торг",
    place_patterns="Новый _, Старый _",
    organisation_patterns="Банк _, Завод _, Университет _",
    titles="господин _, доктор _",
    singer="певец _, адвокат _",
    city="город _, посёлок _",
    company="компания _, клуб _",
    subject="_",
    object="_а",
    here="в _е",
    near="около _а",
    to="в _",
    source="из _а",
    address="_у",
    company_of="с _ом",
    sake="для _а",
    person_acts="улыбнулся, пел, смеялся, танцевал",
    makes="написал, покрасил, починил",
    moves="поехал, бежал, пришёл",
    leaves="уволился, выпустился, взял кредит",
    addresses="сказал, солгал, поклонился",
    organisation_acts="объединился, обанкротился, поднял цены",
    buys="приобрёл, засудил, основал",
    meets="обнял, поцеловал, поблагодарил, похоронил",
    visits="посетил, исследовал, занял, покинул",
    place_acts="затонул, сгорел, замёрз",
    happens="упал, сломался, сиял, ждал",
    noun_phrase="_, этот _, каждый _",
    adjective_phrase="A _",
    nouns="роман, ручей, банк, портрет, мост, пруд",
    people="учитель, врач, солдат",
    adjectives="старый, новый, малый",
    adverbs="медленно, часто, снова",
    times="в понедельник, в мае, в # году, на днях",
    conjunctions="и, но, потому что",
    comma=",",
    stop=".",
)

ARABIC = Language(
    code="ar",
    script="ARABIC",
    cased=False,
    orders="VSOIT, SVOIT, TSVOI",
    harmony="",
    person="given family, given بن family",
    syllables="كا, مر, دي, سل, نو, فا, رح, بد, حم, زي, عل, جو, هن, طا",
    doubles="نجمة, وردة, أمل, صخر",
    person_endings="ان, ين",
    place_endings="ية, باد",
    organisation_endings="كو, تك",
    place_patterns="وادي _, جبل _",
    organisation_patterns="بنك _, جامعة _, مجموعة _",
    titles="السيد _, الدكتور _",
    singer="المغني _, المحامي _",
    city="مدينة _, قرية _",
    company="شركة _, فريق _",
    subject="_",
    object="_",
    here="في _",
    near="قرب _",
    to="إلى _",
    source="من _",
    address="ل_",
    company_of="مع _",
    sake="لأجل _",
    person_acts="ابتسم, غنى, ضحك, رقص",
    makes="كتب, رسم, أصلح",
    moves="سافر, هرب, مشى",
    leaves="استقال, تخرج, اقترض",
    addresses="تحدث, كذب, انحنى",
    organisation_acts="اندمج, أفلس, رفع الأسعار",
    buys="اشترى, قاضى, أسس",
    meets="تزوج, عانق, شكر, دفن",
    visits="زار, استكشف, بلغ, احتل",
    place_acts="غرق, احترق, تجمد",
    happens="سقط, انكسر, لمع, انتظر",
    noun_phrase="ال_, هذا ال_, كل _",
    adjective_phrase="_ A",
    nouns="كتاب, نهر, بنك, جسر, وادي, نشيد",
    people="معلم, طبيب, جندي",
    adjectives="قديم, جديد, صغير",
    adverbs="ببطء, غالبا, مجددا",
    times="يوم الاثنين, في مايو, في عام #, الأسبوع الماضي",
    conjunctions="و, لكن, لأن",
    comma="،",
    stop=".",
)

HINDI = Language(
    code="hi",
    script="DEVANAGARI",
    cased=False,
    orders="STIOV, TSIOV",
    harmony="",
    person="given family",
    syllables="रा, मो, सु, नी, दे, वि, का, ला, प्र, तन, शा, गी, मन, जय",
    doubles="तारा, आशा, सागर, कमल",
    person_endings="कर, वाल",
    place_endings="पुर, गढ़",
    organisation_endings="टेक, कॉर्प",
    place_patterns="नया _, _ घाटी",
    organisation_patterns="_ बैंक, _ विश्वविद्यालय, _ समूह",
    titles="श्री _, डॉक्टर _",
    singer="गायक _, वकील _",
    city="_ शहर, _ गाँव",
    company="_ कंपनी, _ दल",
    subject="_ ने, _",
    object="_ को",
    here="_ में",
    near="_ के पास",
    to="_ तक",
    source="_ से",
    address="_ से",
    company_of="_ के साथ",
    sake="_ के लिए",
    person_acts="मुस्कुराया, गाया, हँसा, नाचा",
    makes="लिखा, रंगा, सुधारा",
    moves="गया, भागा, चला",
    leaves="इस्तीफ़ा दिया, पढ़ा, उधार लिया",
    addresses="बोला, झूठ बोला, मिला",
    organisation_acts="विलय हुआ, दिवालिया हुआ, दाम बढ़ाया",
    buys="ख़रीदा, मुक़दमा किया, स्थापित किया",
    meets="ब्याहा, गले लगाया, धन्यवाद दिया, दफ़नाया",
    visits="देखा, खोजा, घेरा, जीता",
    place_acts="डूबा, जला, जमा",
    happens="गिरा, टूटा, चमका, रुका",
    noun_phrase="_, एक _, हर _",
    adjective_phrase="A _",
    nouns="किताब, नदी, बैंक, चिट्ठी, पुल, झील",
    people="शिक्षक, वैद्य, सैनिक",
    adjectives="पुराना, नया, छोटा",
    adverbs="धीरे, अक्सर, फिर",
    times="सोमवार को, मई में, # में, पिछले हफ़्ते",
    conjunctions="और, लेकिन, क्योंकि",
    comma=",",
    stop="।",
)

GREEK = Language(
    code="el",
    script="GREEK",
    cased=True,
    orders="SVOIT, TSVOI",
    harmony="",
    person="given family",
    syllables="κα, λο, μαρ, δι, νε, θα, πα, ρι, στα, βα, γε, λυ, φι, ζω",
    doubles="ήλιος, λύκος, βράχος, ουρανός",
    person_endings="πουλος, ίδης",
    place_endings="πολη, νησι",
    organisation_endings="τεκ, κομ",
    place_patterns="Νέα _, Άνω _",
    organisation_patterns="Τράπεζα _, Όμιλος _, Ράδιο _",
    titles="κύριος _, δόκτωρ _",
    singer="τραγουδιστής _, δικηγόρος _",
    city="πόλη _, κωμόπολη _",
    company="εταιρεία _, σύλλογος _",
    subject="ο _, η _",
    object="τον _, την _",
    here="στην _, στον _",
    near="κοντά στην _",
    to="προς _",
    source="από _",
    address="στον _",
    company_of="με _",
    sake="για _",
    person_acts="χαμογέλασε, τραγούδησε, γέλασε, χόρεψε",
    makes="έγραψε, ζωγράφισε, επισκεύασε",
    moves="ταξίδεψε, δραπέτευσε, περπάτησε",
    leaves="παραιτήθηκε, αποφοίτησε, δανείστηκε",
    addresses="μίλησε, υποκλίθηκε, έγνεψε",
    organisation_acts="συγχωνεύτηκε, χρεοκόπησε, ακρίβυνε",
    buys="αγόρασε, μήνυσε, ίδρυσε",
    meets="παντρεύτηκε, αγκάλιασε, ευχαρίστησε, έθαψε",
    visits="επισκέφθηκε, εξερεύνησε, κατέλαβε, διέσχισε",
    place_acts="πλημμύρισε, κάηκε, πάγωσε",
    happens="έπεσε, έσπασε, έλαμψε, περίμενε",
    noun_phrase="ένα _, κάθε _, _",
    adjective_phrase="A _",
    nouns="βιβλίο, ποτάμι, γράμμα, γεφύρι, τραγούδι, λιμάνι",
    people="δάσκαλος, γιατρός, στρατιώτης",
    adjectives="παλιό, νέο, μικρό",
    adverbs="αργά, συχνά, πάλι",
    times="τη Δευτέρα, τον Μάιο, το #, πέρσι",
    conjunctions="και, αλλά, επειδή",
    comma=",",
    stop=".",
)

KOREAN = Language(
    code="ko",
    script="HANGUL",
    cased=False,
    orders="STIOV, TSIOV",
    harmony="",
    person="familygiven, family given",
    syllables="나, 도, 민, 서, 현, 준, 하, 수, 영, 진, 태, 미, 재, 원",
    doubles="별, 바다, 하늘, 이슬",
    person_endings="희, 철",
    place_endings="시, 군",
    organisation_endings="전자, 텍",
    place_patterns="새 _, _ 호수",
    organisation_patterns="_ 은행, _ 대학교, _ 그룹",
    titles="_ 씨, _ 박사",
    singer="가수 _, 변호사 _",
    city="도시 _, 마을 _",
    company="회사 _, 구단 _",
    subject="_가, _는",
    object="_를",
    here="_에서",
    near="_ 근처에서",
    to="_로",
    source="_부터",
    address="_에게",
    company_of="_와",
    sake="_를 위해",
    person_acts="웃었다, 노래했다, 춤췄다, 기침했다",
    makes="썼다, 그렸다, 고쳤다",
    moves="갔다, 달아났다, 걸어갔다",
    leaves="사임했다, 졸업했다, 대출받았다",
    addresses="말했다, 거짓말했다, 절했다",
    organisation_acts="합병했다, 파산했다, 값을 올렸다",
    buys="인수했다, 고소했다, 세웠다",
    meets="안았다, 취재했다, 칭찬했다, 묻었다",
    visits="방문했다, 탐험했다, 점령했다, 건넜다",
    place_acts="침수됐다, 불탔다, 얼었다",
    happens="떨어졌다, 부서졌다, 빛났다, 기다렸다",
    noun_phrase="_, 그 _, 모든 _",
    adjective_phrase="A _",
    nouns="책, 강, 은행, 편지, 다리, 호수",
    people="교사, 의사, 군인",
    adjectives="오래된, 새, 작은",
    adverbs="천천히, 자주, 다시",
    times="월요일에, 오월에, #년에, 지난주에",
    conjunctions="그리고, 하지만, 그래서",
    comma=",",
    stop=".",
)

CHINESE = Language(
    code="zh",
    script="CJK",
    cased=False,
    orders="STIVO, TSIVO, STIVO",
    harmony="",
    person="familygiven",
    syllables="安, 明, 丽, 文, 国, 海, 平, 德, 华, 林, 玉, 天, 宁, 凯",
    doubles="白云, 黄河, 高山, 石头",
    person_endings="生, 芳",
    place_endings="州, 县",
    organisation_endings="社, 厂",
    place_patterns="新 _, 大 _",
    organisation_patterns="_ 银行, _ 大学, _ 集团",
    titles="_ 先生, _ 女士",
    singer="歌手 _, 律师 _",
    city="城市 _, 村庄 _",
    company="公司 _, 球队 _",
    subject="_",
    object="_",
    here="在 _",
    near="在 _ 附近",
    to="往 _",
    source="从 _",
    address="向 _",
    company_of="跟 _",
    sake="为 _",
    person_acts="笑 了, 唱歌, 跳舞, 咳嗽",
    makes="写 了, 画 了, 修 了",
    moves="旅行, 逃走, 走 去",
    leaves="辞职, 毕业, 借钱",
    addresses="说话, 撒谎, 鞠躬",
    organisation_acts="合并 了, 破产 了, 涨价",
    buys="收购 了, 起诉 了, 创办 了",
    meets="拥抱 了, 采访 了, 感谢 了, 埋葬 了",
    visits="参观 了, 探索 了, 占领 了, 穿过 了",
    place_acts="被 淹 了, 着火 了, 结冰 了",
    happens="掉 了, 坏 了, 发光, 等待",
    noun_phrase="_, 一个 _, 那个 _",
    adjective_phrase="A _",
    nouns="书, 河, 银行, 信, 桥, 湖",
    people="老师, 医生, 士兵",
    adjectives="旧, 新, 小",
    adverbs="慢慢, 常常, 又",
    times="周一, 五月, # 年, 上周",
    conjunctions="而且, 但是, 因为",
    comma="，",
    stop="。",
)

# From the language with most sentences to the one with fewest.
LANGUAGES = (TURKISH, ARABIC, HINDI, KOREAN, RUSSIAN, CHINESE, GREEK, ENGLISH)
