"""Sizes, styles and numbers in clauses, lines and segments of their own, in eleven languages."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.rules import interpret

STYLES = ("3d", "noto", "noto-v1", "flat")
SIZES = ((256, 256), (64, 64), (384, 256), (256, 384))
SQUARE, WIDE, TALL = (256, 256), (384, 256), (256, 384)


@pytest.mark.parametrize(
    ("text", "prompt", "size"),
    [
        ("a fox for my phone wallpaper", "a fox", TALL),
        ("a fox, upright, for my phone wallpaper", "a fox", TALL),
        ("a lake as a desktop background, no people", "a lake", WIDE),
        ("Ein Fuchs als Handyhintergrund", "Ein Fuchs", TALL),
        ("un renard pour mon fond d'écran de téléphone", "un renard", TALL),
        ("un zorro para fondo de pantalla del móvil, sin texto", "un zorro", TALL),
        ("una volpe come sfondo del cellulare", "una volpe", TALL),
        ("uma raposa para o papel de parede do celular", "uma raposa", TALL),
        ("een vos als achtergrond voor mijn telefoon", "een vos", TALL),
        ("лиса на обои телефона", "лиса", TALL),
        ("スマホの壁紙用にキツネを描いて", "キツネ", TALL),
        ("画一只狐狸做手机壁纸", "一只狐狸", TALL),
        ("폰 배경화면으로 쓸 여우 그려줘", "여우", TALL),
        ("lighthouse at dusk. landscape. no boats.", "lighthouse at dusk", WIDE),
        ("molen in de mist / liggend / zonder koeien", "molen in de mist", WIDE),
        ("a fox in the snow. the image should be square.", "a fox in the snow", SQUARE),
        ("ein Fuchs im Schnee. Das Bild soll hochkant sein.", "ein Fuchs im Schnee", TALL),
        ("un renard dans la neige. L'image doit être carrée.", "un renard dans la neige", SQUARE),
        ("un zorro y que sea cuadrada la imagen", "un zorro", SQUARE),
        ("una volpe. L'immagine deve essere quadrata", "una volpe", SQUARE),
        ("uma raposa. A imagem deve ser quadrada", "uma raposa", SQUARE),
        ("een vos. Het plaatje moet vierkant zijn.", "een vos", SQUARE),
        ("лиса. Картинка должна быть квадратной", "лиса", SQUARE),
        ("雪の中のキツネ。画像は正方形にしてください。", "雪の中のキツネ", SQUARE),
        ("雪地里的狐狸,图片要正方形", "雪地里的狐狸", SQUARE),
        ("눈 속의 여우. 이미지는 정사각형으로 해 주세요.", "눈 속의 여우", SQUARE),
        ("a sqaure picture of a koala", "a koala", SQUARE),
        ("een strand", "een strand", None),
        ("a square cake with four candles", "a square cake with four candles", None),
    ],
)
def test_a_size_is_read_from_a_clause_or_a_use(text: str, prompt: str, size: tuple[int, int] | None):
    found = interpret(text, STYLES, (), SIZES)
    assert found.prompt == prompt
    assert (found.width, found.height) == (size or (None, None))


@pytest.mark.parametrize(
    ("text", "prompt", "style"),
    [
        ("an otter. Style: 3d", "an otter", "3d"),
        ("an otter and make it flat", "an otter", "flat"),
        ("ein Otter, mach es flach", "ein Otter", "flat"),
        ("ein Otter, Stil: flach", "ein Otter", "flat"),
        ("een egel op rolschaatsen, vlakke stijl", "een egel op rolschaatsen", "flat"),
        ("un zorro y que sea en estilo plano", "un zorro", "flat"),
        ("vaca en la luna noto v1", "vaca en la luna", "noto-v1"),
        ("выдра в 3д", "выдра", "3d"),
        ("안경 쓴 여우, 노토 스타일", "안경 쓴 여우", "noto"),
        ("cat with 3D glasses", "cat with 3D glasses", None),
        ("gafas 3D sobre la mesa", "gafas 3D sobre la mesa", None),
        ("une imprimante 3D", "une imprimante 3D", None),
        ("occhiali 3D rossi", "occhiali 3D rossi", None),
        ("óculos 3D vermelhos", "óculos 3D vermelhos", None),
        ("3D 안경 쓴 고양이", "3D 안경 쓴 고양이", None),
        ("3Dメガネをかけた猫", "3Dメガネをかけた猫", None),
        ("戴3D眼镜的猫", "戴3D眼镜的猫", None),
    ],
)
def test_a_style_is_read_from_a_clause_and_not_from_a_thing(text: str, prompt: str, style: str | None):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.style) == (prompt, style)


@pytest.mark.parametrize(
    ("text", "prompt", "n"),
    [
        ("two or three pictures of a dog", "a dog", 3),
        ("2-3 pictures of a dog", "a dog", 3),
        ("a robot, half a dozen", "a robot", 6),
        ("a robot (4)", "a robot", 4),
        ("a fox, and make me three of them", "a fox", 3),
        ("ein Fuchs, und mach mir drei davon", "ein Fuchs", 3),
        ("un renard, fais-m'en trois", "un renard", 3),
        ("un zorro y hazme tres", "un zorro", 3),
        ("una volpe, fammene tre", "una volpe", 3),
        ("uma raposa e me faz três", "uma raposa", 3),
        ("een vos en doe er maar drie", "een vos", 3),
        ("лиса, сделай три штуки", "лиса", 3),
        ("キツネ、三枚お願い", "キツネ", 3),
        ("两三张狐狸的图", "狐狸", 3),
        ("여우, 세 장 부탁해", "여우", 3),
        ("quatro gatos, uma imagem só", "quatro gatos", 1),
        ("three little pigs in a house", "three little pigs in a house", None),
    ],
)
def test_a_number_is_read_from_a_clause(text: str, prompt: str, n: int | None):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.n) == (prompt, n)


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("a beach. Absolutely no people or dogs!", "a beach", "people, dogs"),
        ("a beach with no umbrellas whatsoever", "a beach", "umbrellas"),
        ("a beach, no people please, square", "a beach", "people"),
        ("ein Strand ganz ohne Leute", "ein Strand", "Leute"),
        ("een strand waar geen parasols op staan", "een strand", "parasols"),
        ("une plage, zéro parasol", "une plage", "parasol"),
        ("una gaita. Les ruego que prescindan de las flores.", "una gaita", "flores"),
        ("海滩,别出现人和狗", "海滩", "人, 狗"),
        ("해변, 사람이랑 개는 빼줘", "해변", "사람, 개"),
    ],
)
def test_what_stresses_a_thing_to_leave_out_is_no_part_of_the_picture(text: str, prompt: str, negative: str):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.negative_prompt) == (prompt, negative)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a fox lol", "a fox"),
        ("여우 그려줘ㅋㅋ", "여우"),
        ("ein Fuchs haha", "ein Fuchs"),
        ("３Ｄ眼镜", "3D眼镜"),
        ("a flat tire for my garage's website", "a flat tire"),
    ],
)
def test_laughter_and_purposes_are_no_part_of_the_picture(text: str, prompt: str):
    assert interpret(text, STYLES, (), SIZES).prompt == prompt


@pytest.mark.parametrize(
    ("text", "prompt", "size"),
    [
        ("a fox in the snow, and so please make it square", "a fox in the snow", SQUARE),
        ("ein Hund im Schnee, darum soll das Bild breit sein", "ein Hund im Schnee", WIDE),
        ("un renard dans la neige, donc fais-le carré", "un renard dans la neige", SQUARE),
        ("un zorro en la nieve, así que hazlo cuadrado", "un zorro en la nieve", SQUARE),
        ("una volpe nella neve, quindi falla quadrata", "una volpe nella neve", SQUARE),
        ("uma raposa, por isso a imagem deve ser quadrada", "uma raposa", SQUARE),
        ("een vos, daarom moet het plaatje vierkant zijn", "een vos", SQUARE),
        ("лиса в снегу, поэтому сделай её квадратной", "лиса в снегу", SQUARE),
        ("雪の中のキツネ、なので画像は正方形にしてください", "雪の中のキツネ", SQUARE),
        ("雪地里的狐狸,所以图片要正方形", "雪地里的狐狸", SQUARE),
        ("눈 속의 여우, 그래서 이미지는 정사각형으로 해 주세요", "눈 속의 여우", SQUARE),
        ("ein Haus, das soll es sein", "ein Haus, das soll es sein", None),
        ("A fox\na sleigh\nsquare", "A fox, a sleigh", SQUARE),
    ],
)
def test_what_joins_a_clause_goes_with_it(text: str, prompt: str, size: tuple[int, int] | None):
    found = interpret(text, STYLES, (), SIZES)
    assert (found.prompt, found.width, found.height) == (prompt, *(size or (None, None)))


@pytest.mark.parametrize(
    "text",
    ["a sign that says lol", "a poster of XD", "un cartel que dice jaja", "ein Schild mit der Aufschrift haha"],
)
def test_laughter_that_is_written_in_the_picture_stays(text: str):
    assert interpret(text, STYLES).prompt == text
