"""What `rules` looks for, in eight languages: how people ask for pictures, count them, name styles, leave things out.

Regular expressions, matched without regard to case. Latin and Cyrillic words stand alone; Chinese, Japanese and Korean
have no spaces that would tell, so theirs are parts of what is written.
"""

from __future__ import annotations

from typing import Final

_GRAMMAR: Final = """
    the and with for from that this into over under its his her their are was very some one two
    der die das den dem des ein eine einen einem einer und mit von für auf ist
    los las una unos unas con por para del que les des une avec pour dans sur est aux
    это как для над под или
"""
GRAMMAR: Final = frozenset(_GRAMMAR.split()) | frozenset("的一个只张是在和有了着与不")
"""Words that say nothing of what a picture shows; sharing them is sharing nothing."""
_PLEASE_JA: Final = r"(ください(ませんか)?|下さい|ほしい(です)?|欲しい(です)?|くれますか|くれませんか|くれる|もらえますか|いただけますか)?[？?]?"

LEAD_INS: Final = (
    # English
    r"(hi|hello|hey|ok|okay|so|well)( there)?\b[\s,!.]*",
    r"(now|then|next|this time|new (picture|image|drawing)|what about|how about)\b[\s,:]*",
    r"(i was wondering if|do you think|is it possible that) (you|u) (can|could)\b",
    r"(would|do) (you|u) mind\b|(can|could|may) i (get|have|see)\b|(i'm|i am) looking for\b|(something|anything) with\b",
    r"(drawing|painting|making|creating|generating)( me| us)?\b(?= an? )",
    r"(please|kindly)\b[\s,]*",
    r"(can|could|would|will) (you|u) (please |kindly )?",
    r"(i|we)('d| would)? (really )?(like|love|want|need)( to (see|have|get))?\b",
    r"(let me see|show( me| us)?|give me|get me|bring me)\b",
    r"(draw|paint|make|create|generate|render|sketch|design|produce|illustrate|imagine)\b( for)?( me| us)?\b",
    # German
    r"(hallo|bitte|jetzt|nun|wie wäre es mit|wie wär's mit)\b[\s,]*",
    r"(kannst|könntest|würdest) du (mir )?(bitte )?",
    r"(ich|wir) (hätte|hätten|möchte|möchten|will|wollen|brauche|brauchen|wünsche mir)( bitte)?( gern| gerne)?\b",
    r"(zeichne|male|mal|zeig|zeige|mach|mache|erstelle|erzeuge|generiere|gib)( mir| uns)?( bitte)?\b",
    # Spanish
    r"(hola|por favor|ahora|qué tal)\b[\s,]*",
    r"(puedes|podrías|podría|me puedes|me podrías) ",
    r"(quiero|quisiera|me gustaría|necesito)( ver| tener)?\b",
    r"(dibuja|dibújame|dibujar|pinta|píntame|haz|hazme|hacer|crea|créame|crear|genera|generar|muéstrame|dame)\b",
    # French
    r"(bonjour|salut|maintenant|s'il (te|vous) pla[iî]t|stp|svp)\b[\s,]*",
    r"(peux-tu|pourrais-tu|pouvez-vous|pourriez-vous) (me )?",
    r"(je veux|je voudrais|j'aimerais|il me faut)( voir| avoir)?\b",
    r"(dessine|dessiner|dessinez|peins|fais|faire|faites|crée|créer|génère|montre|donne)(-moi| moi)?\b",
    # Russian
    r"(привет|здравствуйте|пожалуйста|теперь)(?!\w)[\s,!]*",
    r"(можешь|можете|не могли бы вы|мог бы ты) ",
    r"(мне|нам) нуж(ен|на|но|ны)(?!\w)",
    r"(я )?(хочу|хотел бы|хотела бы)( увидеть| получить)?(?!\w)",
    r"(нарисуй|нарисуйте|нарисовать|сделай|сделайте|создай|создайте|покажи|покажите)( мне| нам)?(?!\w)",
    # Chinese
    r"(你好|您好)[\s,，!！]*",
    r"(请|麻烦你?|能不能|可以)(你|您)?(帮我|给我|为我)?",
    r"(我想要?|我要|我需要|给我|帮我|为我)(看看?)?",
    r"(再|又|现在|然后|这次)",
    r"(画(?!家|面|笔|布|像|框|展|板|廊|眉|作|册)|绘制|绘(?!画|本)|生成)(一下|出|个)?",
    r"(做|创作|来|设计)(一下|出)?(?=[一二三四五六七八九十两几个张幅只\d])",
    # Japanese and Korean ask at the end
    r"(こんにちは|すみません|次は|今度は)[、,\s]*",
    r"(안녕하세요|이제|이번에는)[,\s]*",
)
POLITE_TAILS: Final = (
    (
        r"[\s,]*\b(please|pls|thanks|thank you|bitte|danke|dankeschön|por favor|gracias|s'il (te|vous) pla[iî]t|merci)\b"
        r"( (very|so) much| a lot| schön| sehr| beaucoup)?"
    ),
    r"[\s,]*(пожалуйста|спасибо)",
    r"[，,\s]*(谢谢你?|拜托了?)",
)
TAILS: Final = (
    *POLITE_TAILS,
    r"[\s,]+(for|to) (me|us)|[\s,]+(für mich|para mí|pour moi|для меня)",
    r"[\s,]+(but |and )?(make|do) it",
    r"\s(zeichnen|malen|machen|zeigen|erstellen|sehen|haben)",
    r"を?(描|書|か)いて" + _PLEASE_JA,
    r"を?(作|つく)って" + _PLEASE_JA,
    r"を?(お願いします|ください|下さい|が欲しいです|がほしいです|が見たいです)",
    r"\s*(을|를)?\s*(그려|만들어|보여|생성해)\s*(주세요|줘요?|주실래요|줄래요?|줄 수 있(어요?|나요|니|을까요?))?",
    r"\s*(부탁해요|부탁합니다|부탁드립니다)",
    r"\s+(좀\s+)?(주세요|줘요?)",
)
PICTURE_OF: Final = (
    r"of\b",
    r"(a|an|the|one|some)? ?(\w+ )?(picture|image|drawing|painting|photo|illustration|sketch|icon)s? (of|showing|with)\b",
    r"(ein|eine|das|die)? ?(bild|zeichnung|gemälde|foto|symbol)(er|en|s)?( von| mit|,|:|(?= (eine[rs]|des|der)\b))",
    r"(un|una|el|la)? ?(dibujo|imagen|foto|pintura|ilustración|icono)(s|es)? (de|con)\b",
    r"(un|une|le|la)? ?(dessin|image|photo|peinture|illustration|icône)s? (de|d'|avec|:)",
    r"(картинк[уаи]|рисунок|изображение|фото)( с| :|:)?(?!\w)",
    r"(一)?(张|幅|个)?(关于)?(?=.)(图片|图画|插画|画)[:：]",
)
PICTURES_AFTER: Final = (
    r"的(图片|图画|图像|插画|照片|图|画)$",
    r"の(絵|画像|イラスト|写真)を?$",
    r"\s*(그림|이미지|사진)(을|를)?$",
)

_PICTURES: Final = (
    r"(different |more |other |verschiedene |weitere |mehr )?"
    r"(pictures|images|drawings|versions|variations|variants|icons|photos|bilder|zeichnungen|varianten|versionen|"
    r"dibujos|imágenes|imagenes|versiones|fotos|dessins|images|versions|variantes|картинки|картинок|рисунка|рисунков|"
    r"изображения|изображений|варианта|вариантов)"
)
NUMBERS: Final[dict[str, int]] = {
    **dict.fromkeys(("a single", "one", "ein", "eine", "uno", "una", "un", "une", "один", "одну"), 1),
    **dict.fromkeys(("two", "a pair of", "a couple of", "zwei", "dos", "deux", "два", "две"), 2),
    **dict.fromkeys(("three", "drei", "tres", "trois", "три"), 3),
    **dict.fromkeys(("four", "vier", "cuatro", "quatre", "четыре"), 4),
    **dict.fromkeys(("five", "fünf", "cinco", "cinq", "пять"), 5),
    **dict.fromkeys(("six", "sechs", "seis", "шесть"), 6),
    **dict.fromkeys(("seven", "sieben", "siete", "sept", "семь"), 7),
    **dict.fromkeys(("eight", "acht", "ocho", "huit", "восемь"), 8),
    **dict.fromkeys(("nine", "neun", "nueve", "neuf", "девять"), 9),
    **dict.fromkeys(("ten", "zehn", "diez", "dix", "десять"), 10),
    **dict.fromkeys(("twelve", "a dozen", "zwölf", "doce", "una docena de", "douze", "двенадцать"), 12),
}
CJK_NUMBERS: Final = {c: n for n, c in enumerate("零一二三四五六七八九十")} | {"两": 2, "兩": 2}
KOREAN_NUMBERS: Final = {
    "한": 1,
    "두": 2,
    "세": 3,
    "네": 4,
    "다섯": 5,
    "여섯": 6,
    "일곱": 7,
    "여덟": 8,
    "아홉": 9,
    "열": 10,
}
COUNTED: Final = (
    (
        r"(?<!\w)((an?|one|the) (set|series|group|grid|collection) of )?"
        rf"(?P<n>{{number}}) {_PICTURES}\b( of| von| mit| de| d'| с)?"
    ),
    r"(?<!\w)(?P<n>{number}) (of (them|these|those|it)|davon|de ellos|de ellas|d'entre eux|таких)\b",
    r"(?<!第)(?P<cjk>[一二三四五六七八九十两兩]|\d{1,2}) ?(张|張|幅|枚)(の|不同的?)?(图片|图画|图|画|画像|絵)?(の)?",
    r"(그림|이미지|사진) ?(?P<ko>한|두|세|네|다섯|여섯|일곱|여덟|아홉|열|\d{1,2}) ?장(을|를)?",
    r"(?P<ko2>한|두|세|네|다섯|여섯|일곱|여덟|아홉|열|\d{1,2}) ?장(의|을|를)?( 그림| 이미지)?",
)
JOINED_TWICE: Final = r"(?<!\w)(and|und|y|et|и) (?P<last>(with|mit|con|avec|с)(?!\w))"
"""What is left between two things of which the first was taken out."""
DANGLING: Final = r"(?<!\w)([\s,]*(in|as|at|with|of|and|but|im|als|mit|und|aber|en|como|con|de|y|pero|dans|comme|avec|et|mais|в|как|с|и|но))+$"
"""What introduced a style, a size or a seed that was taken out."""
SEED: Final = (
    r"(with |mit |con |avec |с )?(the |dem |la |le )?(seed|种子|種子|シード|시드|сид)\s*[:=#]?\s*(?P<seed>\d{1,10})",
)
SIZE: Final = (
    r"(in |at |mit |de |en |размером )?(?P<w>\d{2,5})\s*[x×*хX]\s*(?P<h>\d{2,5})( ?(px|pixels?|pixel|píxeles|像素|ピクセル))?",
)

WITHOUT: Final = (
    r"\b(without|with no|but no|and no|minus|no)\b (any |the |a |an )?(?P<what>{thing})",
    r"\b(ohne|aber kein(e|en)?|kein(e|en)?) (den |die |das |einen |eine |ein )?(?P<what>{thing})",
    r"\b(sin|pero sin) (el |la |los |las |un |una )?(?P<what>{thing})",
    r"\b(sans|mais sans) (le |la |les |l'|un |une |aucun |aucune )?(?P<what>{thing})",
    r"(?<!\w)(но без|без) (?P<what>{thing})",
    r"[，,、]?(但)?(没有|不要|不带|不含|无)(?P<what>[^，,。.、;；]+?)(的(?=[^，,。.、;；])|(?=[，,。.、;；])|$)",
    r"(?P<what>[^、。,，\s]{1,12}?)((が|の)?(なし|無し)|(が|の|は)い?ない|(を|は)抜き)(の|で)?",
    r"(?P<what>[^\s,.]+?)(이|가)? ?(없는|없이|빼고)",
)
THING: Final = (
    r"[^\W\d_][^,.;:!?\n]*?(?=\s+(and|with|in|on|at|but|und|mit|in|auf|aber|y|con|en|et|avec|sur|и|с|на)\s|[,.;:!?]|$)"
)

_IN: Final = r"((in|im|in einem|als|en|como|dans un|dans le|en tant que|comme|в|как|as|with)( (an?|the|eine?|der|dem|un|une|una|el|la|le))? )?"
STYLES: Final[dict[str, tuple[str, ...]]] = {
    "3d": (
        r"(三维|立体)(的|风格)?|立体的な|입체적?인?|3d ?(模型|风格|フィギュア|スタイル|피규어|스타일)(的|で|の|로|으로)?",
        _IN + r"\b3-?d[ -](?!printer|glasses|movie|drucker|brille)((figure|model|render|rendering|icon)s?|style|look|emoji|figur|modell|stil|figura|modelo|modèle|фигур\w*)\b( (style|look)\b)?( of\b)?",
        _IN + r"(?<![a-z0-9])3-?d(-rendered| rendered)?(?![a-z0-9])(で|으로|로)?(?![ -](printer|glasses|movie|drucker|brille))",
        _IN + r"(\bthree-dimensional\b|\bdreidimensional\w*|\btridimensional\w*|\ben trois dimensions\b|трёхмерн\w+|трехмерн\w+)",
    ),
    "flat": (
        _IN + r"\bflat[ -](styles?|design|icons?|drawings?|graphics?|look|colou?rs)\b( of\b)?",
        _IN + r"(\bflache[rnms]? (stil|design|symbol)\b|\bestilo plano\b|\bstyle plat\b|плоск\w+ стил\w+)",
        r"扁平(化)?(的)?(风格)?(的)?|フラット(デザイン|な|スタイル)?(の|で)?|플랫 ?(디자인|스타일)?(으로|로|의)?",
    ),
}  # fmt: skip
"""More names of styles that a model may have, beside the names themselves."""
STYLE_FRAMES: Final = (
    r"(in|im|en|dans|в) (the |dem |el |le )?(style|stil|estilo|стиле) (of |von |de )?['\"“]?{style}['\"”]?(?![\w-])",
    _IN + r"['\"“]?(?<![\w-]){style}['\"”]?[ -](style|stil|estilo|стиле|стиль)\b( of\b)?",
    r"(?<![\w-]){style} (emoji|icon|drawing|figure|emojis|icons)\b( of\b)?",
    r"\b(as|als|como|comme)( a| an| ein| eine| un| une| una)? {style}(?![\w-])( (drawing|picture|icon|emoji|figure|bild|zeichnung|figur))?",
    r"(?<![\w-]){style} ?(的)?(风格|スタイル|풍|스타일)(的|で|の|로|으로)?",
    r"[\[(]\s*{style}\s*[\])]|-{0,2}\b(style|stil|estilo|стиль|风格|スタイル|스타일)\s*[:：=]\s*{style}(?![\w-])|--style {style}(?![\w-])",
    r"^{style}\s*[:：]|,\s*{style}\s*$",
)

_END: Final = r"(?=\s*[,.;:!?]|\s*$)"
_PICTURE: Final = rf"((picture|image|drawing|icon|photo|painting)s?( of\b|{_END})|(version|format|size|thumbnail)s?\b)"
_BILD: Final = rf"((bild|zeichnung|symbol|foto)(er|en|s)?( von\b|{_END})|format\b)"
_IMAGEN: Final = r"(imagen|dibujo|foto|formato|tamaño)"
_IMAGE: Final = r"(image|dessin|photo|format)"
_RU_PICTURE: Final = rf"((картинк|изображени|рисун)\w*( с(?!\w)|{_END})|(формат|размер|ориентаци)\w*)"


def _shape(en: str, de: str, es: str, fr: str, ru: str, zh: str, ja: str, ko: str) -> tuple[str, ...]:
    """How one speaks of a picture's size or format, from how one calls it; none of it is about what it shows."""
    return (
        rf"(in )?\b(an? )?({en})[ -](sized )?(\w+ )?{_PICTURE}",
        rf"(im |in )?\b(eine?[mnrs]? )?({de})\w* {_BILD}|\bim ({de})format\b",
        rf"\b(en |de )?(una? )?{_IMAGEN} ({es})[oa]?( de\b|{_END})",
        rf"\b(en |une? )?(({fr})e? {_IMAGE}|{_IMAGE} ({fr})e?)( de\b| d'|{_END})",
        rf"(в )?({ru})\w+ {_RU_PICTURE}(?!\w)",
        rf"({zh})(的)?(尺寸|图片|图画|图(?![书案形标])|画幅)(的)?",
        rf"({ja})(な|の)?(サイズ|画像|絵(?![本の文]))(の|で)?",
        rf"({ko}) ?(크기|이미지|그림)(의|로)?",
    )


SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "small": _shape("small|tiny|little", "klein", "pequeñ", "petit", "маленьк|небольш", "小", "小さい|小さ", "작은"),
    "large": _shape("large|big|huge", "groß|gross", "grande|grand", "grand", "больш", "大", "大きい|大き", "큰"),
    "square": _shape("square", "quadratisch", "cuadrad", "carré", "квадратн", "正方形|方形", "正方形", "정사각형"),
    "wide": (*_shape("landscape|wide|widescreen", "breit|quer", "horizontal", "paysage", "горизонтальн|альбомн", "横向|横版|横", "横長", "가로"), r"(im )?\bquerformat\b"),
    "tall": (*_shape("portrait|tall|upright", "hoch", "vertical", "portrait", "вертикальн", "竖向|竖版|竖", "縦長", "세로"), r"(im )?\bhochformat\b"),
}  # fmt: skip
