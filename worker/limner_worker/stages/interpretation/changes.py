"""What `refine` looks for, in eight languages: how people say what should be different about a picture that is there.

Regular expressions, matched without regard to case; see `words`.
"""

from __future__ import annotations

from typing import Final

COLOURS: Final[dict[str, dict[str, str]]] = {
    "en": {"red": "red|redder", "blue": "blue|bluer", "green": "green|greener", "yellow": "yellow|yellower", "orange": "orange", "purple": "purple|violet", "pink": "pink|pinker", "black": "black|blacker", "white": "white|whiter", "brown": "brown|browner", "grey": "grey|gray|greyer|grayer"},
    "de": {"red": "rot|rote[nrms]?|röter", "blue": "blau|blaue[nrms]?|blauer", "green": "grün|grüne[nrms]?", "yellow": "gelb|gelbe[nrms]?", "orange": "orange|orangefarben\\w*", "purple": "lila|violette?[nrms]?", "pink": "rosa", "black": "schwarz|schwarze[nrms]?|schwärzer", "white": "weiß|weiße[nrms]?", "brown": "braun|braune[nrms]?", "grey": "grau|graue[nrms]?"},
    "es": {"red": "rojo|roj[oa]s?", "blue": "azul|azules", "green": "verde|verdes", "yellow": "amarillo|amarill[oa]s?", "orange": "naranja", "purple": "morado|morad[oa]s?|violeta", "pink": "rosa|rosad[oa]", "black": "negro|negr[oa]s?", "white": "blanco|blanc[oa]s?", "brown": "marrón", "grey": "gris"},
    "fr": {"red": "rouge|rouges", "blue": "bleu|bleue?s?", "green": "vert|verte?s?", "yellow": "jaune|jaunes", "orange": "orange|orangée?", "purple": "violet|violette?s?", "pink": "rose", "black": "noir|noire?s?", "white": "blanc|blanche?s?", "brown": "marron|brune?", "grey": "gris|grise?s?"},
    "ru": {"red": "красный|красн(ая|ое|ым|ой|ую|ого|ые|ее)", "blue": "синий|син(яя|ее|им|ей|юю|его|ие)|голуб(ой|ая|ое|ым)", "green": "зелёный|зел[её]н(ый|ая|ое|ым|ой|ую|ого|ые|ее)", "yellow": "жёлтый|ж[её]лт(ый|ая|ое|ым|ой|ую|ого|ые|ее)", "orange": "оранжевый|оранжев(ая|ое|ым|ой|ую)", "purple": "фиолетовый|фиолетов(ая|ое|ым|ой|ую)", "pink": "розовый|розов(ая|ое|ым|ой|ую|ее)", "black": "чёрный|ч[её]рн(ый|ая|ое|ым|ой|ую|ее)", "white": "белый|бел(ая|ое|ым|ой|ую|ее)", "brown": "коричневый|коричнев(ая|ое|ым|ой|ую)", "grey": "серый|сер(ая|ое|ым|ой|ую)"},
    "zh": {"red": "红色的|红色?的?", "blue": "蓝色的|蓝色?的?", "green": "绿色的|绿色?的?", "yellow": "黄色的|黄色?的?", "orange": "橙色的|橙色?的?", "purple": "紫色的|紫色?的?", "pink": "粉色的|粉红?色?的?", "black": "黑色的|黑色?的?", "white": "白色的|白色?的?", "brown": "棕色的|棕色?的?", "grey": "灰色的|灰色?的?"},
    "ja": {"red": "赤い|赤(?!ちゃん)色?[いくの]?", "blue": "青い|青色?[いくの]?", "green": "緑の|緑色?の?", "yellow": "黄色い|黄色[いくの]?", "orange": "オレンジの|オレンジ色?の?", "purple": "紫の|紫色?の?", "pink": "ピンクの|ピンク色?の?", "black": "黒い|黒色?[いくの]?", "white": "白い|白色?[いくの]?", "brown": "茶色い|茶色[いくの]?", "grey": "灰色の|灰色の?"},
    "ko": {"red": "빨간|빨(간|갛|강)(색|게)?(으로)?", "blue": "파란|파(란|랗|랑)(색|게)?(으로)?", "green": "초록색|(초록|녹)색?(으로)?", "yellow": "노란|노(란|랗|랑)(색|게)?(으로)?", "orange": "주황색|주황색?(으로)?", "purple": "보라색|보라색?(으로)?", "pink": "분홍색|분홍색?(으로)?", "black": "검은|(검은|검정|까맣)(색|게)?(으로)?", "white": "하얀|(하얀|하얗|흰)(색|게)?(으로)?", "brown": "갈색|갈색(으로)?", "grey": "회색|회색(으로)?"},
}  # fmt: skip
"""By language and colour: the form that a prompt gets, then the others; comparatives are forms too."""

_CHAT: Final = (
    r"(thanks?( you)?|thx|great|nice|cool|wow|perfect|lovely|beautiful|good|ok(ay)?|yes|no|i (really )?(like|love) (it|that|this)( one)?"
    r"|danke|super|schön|toll|gefällt mir|gracias|genial|me gusta|merci|j'adore|спасибо|класс|круто|нравится"
    r"|谢谢你?|好的?|不错|漂亮|很好|ありがとう(ございます)?|いいね|すごい|고마워요?|감사합니다|좋아요?)"
    r"( (very|so) much| a lot| schön| sehr| beaucoup)?"
)
CHATTER: Final = rf"{_CHAT}([\s,，!！.。~]+{_CHAT})*[\s!！.。~]*"
"""Nothing about a picture: it stays as it is."""
POLITE: Final = (
    r"^[\s¿¡]*(please|now|then|and|but|ok|okay|so|well|hm+|bitte|jetzt|nun|und|aber|dann|por favor|ahora|y|pero|s'il (te|vous) pla[iî]t|maintenant|et|mais|пожалуйста|теперь|и|но|а)(?!\w)[\s,]*",
    r"^[\s¿¡]*((can|could|would|will) (you|we|u)( please)?|let's( see)?|(kannst|könntest|würdest) du( bitte)?|(me )?(puedes|podrías)|(peux|pourrais)-tu|pouvez-vous|(можешь|можете))(?!\w)[\s,]*",
    r"^[\s¿¡]*(i'd like|i would like|i want|i need|ich möchte|ich hätte gerne?|quiero|je veux|je voudrais|я хочу|хочу) (it|that|this|them|es|das|ihn|sie|lo|la|его|её|ее)(?!\w)[\s,]*(to be|in|en)?\s*",
    r"^(现在|那么?|请|麻烦你?|帮我|能不能|可以)[，,\s]*",
    r"^(今度は|じゃあ|では|次は)[、,\s]*",
    r"^(이제|그럼|이번에는)[,\s]*",
)
SAME: Final = (
    r"^(the )?same\b([^,]{0,40}?(?=[\s,]+(but|only|just)\b))?( (one|picture|thing|image|again))*[\s,]*(but|only|just)?(?!\w)",
    r"^(dasselbe|das gleiche|das selbe|genauso)( bild)?(?!\w)[\s,]*(aber|nur)?(?!\w)",
    r"^(lo mismo|igual|el mismo|la misma)(?!\w)[\s,]*(pero)?(?!\w)",
    r"^(le même|la même|la même chose|pareil)(?!\w)[\s,]*(mais)?(?!\w)",
    r"^(то же самое|тоже самое|так же|такой же|такая же)(?!\w)[\s,]*(но)?(?!\w)",
    r"^(一样的?|同样的?|同じ(もの|絵)?|똑같이|같은 (것|그림))[\s,，、]*(但是?|でも?|けど|で|지만)?",
)
REMOVE: Final = (
    r"^(remove|take away|take off|lose|drop|delete|erase|get rid of) (?P<what>.+)$",
    r"^take (?P<what>.+?) (off|away)$",
    r"^(entferne|lösche|nimm|lass) (?P<what>.+?)( weg| raus)?$",
    r"^(quita|quítale|elimina|saca|borra) (?P<what>.+)$",
    r"^(enlève|enlevez|retire|supprime|ôte)(-lui)? (?P<what>.+)$",
    r"^(убери|уберите|удали|сними)(те)? (?P<what>.+)$",
    r"^(去掉|拿掉|删掉|移除|删除)(?P<what>.+)$",
    r"^(?P<what>.+?)を(取って|消して|外して|なくして|とって)(ください|下さい)?$",
    r"^(?P<what>.+?)(을|를) ?(빼|지워|없애|제거해) ?(줘|주세요)?$",
)
LESS: Final = (
    r"^((a bit|a little|much) )?(less|not so|not as|weniger|nicht so|menos|no tan|moins|pas si|менее|не так|не такой) (?P<what>.+)$",
    r"^(不那么|少一点|别那么)(?P<what>.+)$",
    r"^덜 (?P<what>.+)$",
)
REPLACE: Final = (
    r"^(change|turn|transform) (it|this|that|him|her|them) (in)?to (?P<what>.+)$",
    r"^make (it|this|that) (?P<what>an? .+)$",
    r"^instead of [^,]+, (?P<what>.+)$",
    r"^(?P<what>an? .+?) instead( of .+)?$",
    r"^(mach|mache|verwandle|verwandele) (es|ihn|sie|das) (zu|in) (?P<what>.+)$",
    r"^(?P<what>eine? .+?) (stattdessen|statt .+|anstatt .+)$",
    r"^(cámbialo|cámbiala|conviértelo|conviértela) (a|en|por) (?P<what>.+)$",
    r"^(?P<what>una? .+?) en (vez|lugar) de .+$",
    r"^(change|transforme|changez|transformez)-(le|la|les) en (?P<what>.+)$",
    r"^(?P<what>une? .+?) (à la place|au lieu .+)$",
    r"^(преврати|измени|замени) (его|её|ее) (в|на) (?P<what>.+)$",
    r"^(?P<what>.+?) вместо .+$",
    r"^(把)?(它|他|她)?(变成|改成|换成)(?P<what>.+)$",
    r"^(?P<what>.+)に変えて(ください|下さい)?$",
    r"^(?P<what>.+?)(으로|로) 바꿔 ?(줘|주세요)?$",
)
PART: Final = (
    r"^(make|paint|turn|colou?r) (the|his|her|its|their) (?P<part>[^,.]+?) (?P<how>[^\s,.]+)$",
    r"^(mach|mache|färbe|male) (den|die|das|sein|seine[nr]?) (?P<part>[^,.]+?) (?P<how>[^\s,.]+)$",
    r"^(haz|pon|pinta) (el|la|los|las|su) (?P<part>[^,.]+?) (de )?(?P<how>[^\s,.]+)$",
    r"^(rends|fais|mets|peins) (le|la|les|son|sa) (?P<part>[^,.]+?) (en )?(?P<how>[^\s,.]+)$",
    r"^(сделай|покрась) (?P<part>[^,.]+?) (в )?(?P<how>[^\s,.]+)$",
    r"^把(?P<part>[^，。它]+?)(变成|改成|换成|涂成|变|改)(?P<how>.+)$",
    r"^(?P<part>[^、。]+?)を(?P<how>.+?)(に|く)して(ください|下さい)?$",
    r"^(?P<part>.+?)(을|를) (?P<how>.+?)(으로|로|게) ?(해|바꿔|만들어|칠해) ?(줘|주세요)?$",
)
"""A part of the picture and how it shall be; believed where `how` is a colour or the part was spoken of before."""
CHANGE: Final = (
    r"^(make|turn|colou?r|paint|change) (it|this|that|them|him|her|(the|its) colou?r)( to| into)?(?!\w)",
    r"^(more|a bit|a little|slightly|much)(?!\w)",
    r"^(add|give (it|him|her|them)|put|plus|also)(?!\w)",
    r"^(mach|mache|färbe|male) (es|ihn|sie|das)(?!\w)|^(mehr|etwas|ein bisschen|füge|gib (ihm|ihr)|dazu)(?!\w)",
    r"^(hazlo|hazla|ponlo|ponla|ponle|más|añade|agrega|un poco)(?!\w)",
    r"^(fais-le|fais-la|rends-le|rends-la|mets-lui|plus|ajoute|un peu)(?!\w)",
    r"^(сделай его|сделай её|сделай ее|более|больше|добавь|немного|чуть)(?!\w)",
    r"^(再)?(把它|让它|给它)?(变成|改成|换成|变|改|更|加上?|带上?|戴上?|添加)",
    r"^(もっと|もう少し|少し)",
    r"^(더|좀 더|조금 더)\s*",
)
CHANGE_AFTER: Final = (
    r"(一点|一些|点儿?)$",
    r"(にして|くして)(ください|下さい)?$",
    r"(を|も)(追加|加え|足)(して|て)(ください|下さい)?$|をつけて(ください|下さい)?$",
    r"(게|로) ?(해|만들어|바꿔) ?(줘|주세요)?$|(을|를)? ?(추가해|더해|씌워) ?(줘|주세요)?$",
)
HOW: Final = (
    r"^(bigger|larger|smaller|darker|brighter|lighter|happier|sadder|angrier|cuter|older|younger|taller|shorter|longer|fatter|thinner|funnier|scarier|simpler|softer|sharper|rounder|closer|prettier|stronger|warmer|colder)(?!\w)",
    r"^(größer|kleiner|dunkler|heller|fröhlicher|trauriger|süßer|älter|jünger|höher|lustiger|einfacher|runder|näher)(?!\w)",
    r"^(больше|меньше|темнее|светлее|ярче|веселее|грустнее|милее|старше|моложе|выше|проще|ближе)(?!\w)",
    r"^\S+くして|^\S+게 해",
)
"""Comparatives, which say something only about what is there."""
WITH: Final[dict[str, str]] = {"with": "and", "mit": "und", "con": "y", "avec": "et", "с": "и", "со": "и"}
"""What adds something, and what adds one thing more."""
ALSO: Final = r"^((and|also|plus|und|auch|y|también|et|aussi|и|также|그리고)[\s,]+|(还有|还要|それと|それから)[，、]?)(?P<what>.+)$"
PLACED: Final = (
    r"^(at|on|in|under|over|near|by|behind|inside|above|below|beside|next to|in front of|among|during|wearing|holding|riding|eating|drinking|sitting|standing|sleeping|flying|running|swimming)(?!\w)",
    r"^(auf|unter|über|neben|hinter|vor|bei|am|im|in|zwischen)(?!\w)",
    r"^(en|sobre|bajo|debajo|encima|junto a|detrás|delante|de noche|de día|por la)(?!\w)",
    r"^(dans|sur|sous|à côté|derrière|devant|au|à la|pendant|la nuit)(?!\w)",
    r"^(на|в|во|под|над|возле|рядом|за|перед|ночью|днём)(?!\w)",
    r"^在",
)
"""Where or when; it has no subject of its own, so it is about the one before."""
AGAIN: Final = (
    r"\b(again|once more|one more( time)?|another (one|time|seed|version|try)|redo|repeat|try again|another(?= )|more like (this|it|that)|start over|(something |a )?different( one)?$|something else)(?!\w)|^another$",
    r"\b(noch ?(ein)?mal|wieder|noch eine?[ns]?|erneut|etwas anderes)(?!\w)",
    r"\b(otra vez|de nuevo|otr[oa]$|otra versión)(?!\w)",
    r"\b(encore( une fois| un| une)?|à nouveau|de nouveau|un autre$|une autre$)(?!\w)",
    r"(ещё раз|еще раз|снова|заново|ещё один$|ещё одну$)",
    r"再来(一?(张|次|个|遍|幅))?|再(画|做|试)一?(次|张|遍)|重新(画|来)?|换一张",
    r"もう(一度|一枚|いちど)|再度|別の(もの|絵)?$",
    r"다시( 한번)?|한 ?번 더|하나 더",
)
MORE: Final = r"(?<!\w)(more|others?|mehr|weitere|más|otros|de plus|autres|ещё|еще|другие)(?!\w)|再来|もっと|もう|더"
"""With a number: others like it, not the same ones again."""
COUNT_ALONE: Final = (
    r"^(give me |make |make me |draw |show me |do (it|that|this) )?(?P<n>{number})( (more|others|times|pieces|of (it|them|those|these|that)|please))*$",
    r"^(mach |zeig mir )?(?P<n>{number})( (mehr|weitere|stück|davon|mal))*$|^noch (?P<n1>{number})$",
    r"^(hazme |dame )?(?P<n2>{number})( (más|otros|otras|veces|de ell[oa]s))*$",
    r"^(fais-en |donne-m'en )?(?P<n3>{number})( (de plus|autres|fois|d'entre eux))*$",
    r"^(ещё |еще |сделай )?(?P<n4>{number})( (штуки?|раза?|таких|их))*$",
    r"^(再来|来|给我|要)?(?P<cjk>[一二三四五六七八九十两]|\d{1,2})(个|只|遍|次)$",
    r"^(もう|あと)?(?P<ja>[一二三四五六七八九]|\d{1,2})(つ|個|回)(ください|お願いします)?$",
    r"^(?P<ko>한|두|세|네|다섯|여섯|일곱|여덟|아홉|열|\d{1,2}) ?(개|번)( 더)?$",
)
UNDO: Final = r"(undo( that| it)?|go back|back|revert|rückgängig|zurück|deshacer|deshaz(lo)?|vuelve|annuler?|retour|отмени(ть)?|назад|верни(сь)?|撤销|返回|退回|元に戻して|戻して|되돌려( ?줘)?|취소)[\s.!]*"
_NOUN: Final = r"( (one|picture|image|version|drawing|try|bild|version|imagen|dibujo|versión|dessin|картинк\w*|вариант\w*|рисун\w*))"
ORDINALS: Final[dict[int, tuple[str, str]]] = {
    0: (r"\b(first|original|erste[nrs]?|primer[oa]?|premi[eè]re?)\b|перв\w+", "第一|第1|最初|첫 ?번째"),
    1: (r"\b(second|zweite[nrs]?|segund[oa]|deuxième|seconde?)\b|втор\w+", "第二|第2|二番目|두 ?번째"),
    2: (r"\b(third|dritte[nrs]?|tercer[oa]?|troisième)\b|трет\w+", "第三|第3|三番目|세 ?번째"),
    3: (r"\b(fourth|vierte[nrs]?|cuart[oa]|quatrième)\b|четв[её]рт\w+", "第四|第4|四番目|네 ?번째"),
    -1: (r"\b(last|previous|letzte[nrs]?|vorige[nrs]?|últim[oa]|anterior|derni[eè]re?|précédente?)\b|последн\w+", "上一|最后一?|最後|마지막"),
}  # fmt: skip
"""Which of the pictures so far: in scripts with spaces, and in those without."""
NAMES: Final = {
    place: (
        rf"((go )?back to |use |take |zurück zu )?(the |das |die |den |el |la |le )?({spaced}){_NOUN}",
        rf"(用|回到|选)?({wide})(张|幅|个|版)?(的)?(图片?|画)?|({wide})(の)?(絵|画像|もの)?|({wide}) ?(그림|이미지|것)?",
        rf"^((go )?back to |use |take |zurück zu )?(the |das |die |den |el |la |le )?({spaced})$",
    )
    for place, (spaced, wide) in ORDINALS.items()
}
FILLERS: Final = (
    r"\b(please|bitte|por favor|s'il (te|vous) pla[iî]t|now|jetzt|ahora|maintenant|one|picture|image|bild|it|them|of|the|das|die|der|el|la|le|and|und|y|et|in|as|als|como|comme|a|an|but|just|only|nur|aber|try|go|back|to|use|make|this|that|nochmal|mach|mache|haz|pon|fais|rends|mets)\b",
    r"(?<!\w)(пожалуйста|теперь|картинку|сделай|сделайте|и|но|в)(?!\w)",
    r"(바꿔|해|만들어|변경해) ?(줘|주세요)?|して(ください|下さい)?",
    r"[，,。.!！?？、;；:\s]+|请|的|张|幅|吧|色|点|く|い|な|で|を|に|の|은|는|을|를|으로|로|으",
)
