"""Readings that a speaker of each language would give."""

from __future__ import annotations

import pytest

from sparktts.text import TextOptions, prepare
from sparktts.text.normalize import normalize
from sparktts.text.numbers import en_cardinal, en_year, zh_cardinal
from sparktts.text.spans import dominant_language
from sparktts.text.tracked import Tracked

CHINESE = {
    "今天是2024-05-01": "今天是二零二四年五月一日",
    "今天是2024年5月1日": "今天是二零二四年五月一日",
    "日期5/1/2024有效": "日期二零二四年五月一日有效",
    "会议10:30开始": "会议十点三十分开始",
    "下午3:05见": "下午三点零五分见",
    "营业时间10:00-12:00": "营业时间十点到十二点",
    "下午2点见": "下午两点见",
    "售价$3.50": "售价三点五美元",
    "售价¥100": "售价一百元",
    "约€20左右": "约二十欧元左右",
    "要£5吗": "要五英镑吗",
    "投资$3.5亿": "投资三点五亿美元",
    "重5kg": "重五公斤",
    "气温20°C": "气温二十摄氏度",
    "气温-5°C": "气温零下五摄氏度",
    "时速3 km/h": "时速每小时三公里",
    "下载100MB": "下载一百MB",
    "面积100m²": "面积一百平方米",
    "打138-1234-5678": "打幺三八，幺二三四，五六七八",
    "打13812345678": "打幺三八，幺二三四，五六七八",
    "拨400-800-1234": "拨四零零，八零零，幺二三四",
    "座机010-12345678": "座机零幺零，幺二三四五六七八",
    "电话+86 138 1234 5678": "电话加八六，幺三八，幺二三四，五六七八",
    "请拨110报警": "请拨幺幺零报警",
    "涨了12.5%": "涨了百分之十二点五",
    "大约3-5%的人": "大约百分之三到五的人",
    "占3/4左右": "占四分之三左右",
    "得了第3名": "得了第三名",
    "第2天": "第二天",
    "需要3-5天": "需要三到五天",
    "需要2-3个": "需要两到三个",
    "圆周率3.14": "圆周率三点一四",
    "得-5分": "得负五分",
    "在1999年": "在一九九九年",
    "从2016-2020年": "从二零一六到二零二零年",
    "共1,234,567人": "共一百二十三万四千五百六十七人",
    "有2个": "有两个",
    "有2年": "有两年",
    "买了200元": "买了两百元",
    "比分3:2": "比分三比二",
    "版本v1.2.3发布": "版本v一点二点三发布",
    "分辨率1920×1080": "分辨率一千九百二十乘一千零八十",
    "编号123456789012345": "编号一二三四五六七八九零一二三四五",
    "算10÷2=5": "算十除以二等于五",
    "温度25°C~30°C": "温度二十五到三十摄氏度",
    "拨021-6888-8881": "拨零二幺，六八八八，八八八幺",
    "90后都懂": "九零后都懂",
    "上升10^6倍": "上升十的六次方倍",
    "甲&乙": "甲和乙",
    "他/她": "他、她",
}
ENGLISH = {
    "It was 2024-05-01.": "It was May first, twenty twenty four.",
    "It was 5/1/2024.": "It was May first, twenty twenty four.",
    "On May 1, 2024 we met": "On May first, twenty twenty four we met",
    "On 1 May 2024 we met": "On the first of May, twenty twenty four we met",
    "at 10:30 today": "at ten thirty today",
    "at 3:05 PM today": "at three oh five PM today",
    "at 10:00 today": "at ten o'clock today",
    "from 10:30-11:00 only": "from ten thirty to eleven o'clock only",
    "by 5pm": "by five PM",
    "costs $3.50": "costs three dollars and fifty cents",
    "costs $0.99": "costs ninety nine cents",
    "costs $1": "costs one dollar",
    "raised $3.50 million": "raised three point five million dollars",
    "raised $5-10": "raised five to ten dollars",
    "costs $1,234.56": "costs one thousand two hundred thirty four dollars and fifty six cents",
    "costs ¥100": "costs one hundred yuan",
    "costs €20": "costs twenty euros",
    "costs £5": "costs five pounds",
    "weighs 5kg": "weighs five kilograms",
    "weighs 1 kg": "weighs one kilogram",
    "it is 20°C": "it is twenty degrees Celsius",
    "it is -20°C": "it is minus twenty degrees Celsius",
    "at 3 km/h": "at three kilometers per hour",
    "has 100MB": "has one hundred megabytes",
    "it is 3m long": "it is three meters long",
    "call +1 (415) 555-0132": "call plus one, four one five, five five five, zero one three two",
    "call 138-1234-5678": "call one three eight, one two three four, five six seven eight",
    "call 400-800-1234": "call four zero zero, eight zero zero, one two three four",
    "call 555-0132 now": "call five five five, zero one three two now",
    "about 12.5% more": "about twelve point five percent more",
    "only 3/4 full": "only three quarters full",
    "took 2 1/2 cups": "took two and a half cups",
    "open 24/7": "open twenty four seven",
    "the 21st time": "the twenty first time",
    "the 100th time": "the one hundredth time",
    "pages 3-5": "pages three to five",
    "pi is 3.14": "pi is three point one four",
    "it fell to -5": "it fell to minus five",
    "in 1999": "in nineteen ninety nine",
    "in 1905": "in nineteen oh five",
    "in 2005": "in two thousand five",
    "in the 1990s": "in the nineteen nineties",
    "the war of 1914-1918": "the war of nineteen fourteen to nineteen eighteen",
    "exactly 1,000 people": "exactly one thousand people",
    "exactly 1001 nights": "exactly one thousand one nights",
    "Louis XIV": "Louis XIV",
    "Dr. Smith and Mr. Lee": "Doctor Smith and Mister Lee",
    "fruit, e.g. apples": "fruit, for example apples",
    "the U.S. Army": "the U S Army",
    "He lives in the U.S. The end": "He lives in the U S. The end",
    "version v1.2.3": "version v one point two point three",
    "ping 192.168.1.1": "ping one nine two dot one six eight dot one dot one",
    "we are #1": "we are number one",
    "No. 5 won": "number five won",
    "an A4 page in mp3": "an A four page in mp three",
    "2 + 3 = 5": "two plus three equals five",
    "R&D at AT&T": "R and D at AT and T",
    "a 10 x 12 room": "a ten by twelve room",
    "DDR4-3200 memory": "DDR four-three thousand two hundred memory",
    "he is 5'10\" tall": "he is five foot ten tall",
}
MIXED = {
    "我有3个apple和2.5kg的rice": "我有三个apple和二点五公斤的rice",
    "iPhone 15很好": "iPhone 十五很好",
    "用Python 3.11写代码": "用Python 三点一一写代码",
    "他说 in 1999 we met": "他说 in nineteen ninety nine we met",
    "参加G20峰会": "参加G二十峰会",
    "会议在2024年5月1日，the meeting starts at 10:30 sharp": (
        "会议在二零二四年五月一日，the meeting starts at ten thirty sharp"
    ),
}
UNCHANGED = (
    "don't stop",
    "a naïve café",
    "C++ and C#",
    'He said "hello" to us',
    "It's John's rock 'n' roll",
    "NASA and FBI",
    "état-major",
    "你好，世界！",
    "他说：“走吧。”",
    "Ça va? (oui)",
    "wait; no: yes",
    "ein schöner Tag",
)


def read(text: str, language: str | None = None) -> str:
    return normalize(Tracked.of(text), language, dominant_language(text)).text


@pytest.mark.parametrize("written", CHINESE)
def test_chinese_expressions_are_read_as_a_speaker_reads_them(written: str) -> None:
    assert read(written) == CHINESE[written]


@pytest.mark.parametrize("written", ENGLISH)
def test_english_expressions_are_read_as_a_speaker_reads_them(written: str) -> None:
    assert read(written) == ENGLISH[written]


@pytest.mark.parametrize("written", MIXED)
def test_mixed_text_is_read_in_the_language_around(written: str) -> None:
    assert read(written) == MIXED[written]


@pytest.mark.parametrize("written", UNCHANGED)
def test_text_without_expressions_is_unchanged(written: str) -> None:
    assert read(written) == written


def test_a_forced_language_reads_every_number() -> None:
    assert read("我有3个", "en") == "我有three个"
    assert read("I have 3 cats", "zh") == "I have 三 cats"


def test_normalising_can_be_switched_off() -> None:
    [utterance] = prepare("I have 3 cats.", TextOptions(normalize=False)).utterances
    assert utterance.text == "I have 3 cats."


@pytest.mark.parametrize("digits", ["1" * 20, "9" * 5000, "1," * 3000, "1.2" * 2000, "1:" * 500, "-" * 50 + "1" * 50])
@pytest.mark.parametrize("words", ["中文{}中文", "say {} now"])
def test_absurd_numbers_are_still_read(words: str, digits: str) -> None:
    spoken = "".join(utterance.text for utterance in prepare(words.format(digits)).utterances)
    assert not any(char.isdigit() for char in spoken)


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (0, "zero", "零"),
        (10, "ten", "十"),
        (105, "one hundred five", "一百零五"),
        (110, "one hundred ten", "一百一十"),
        (1002, "one thousand two", "一千零二"),
        (10010, "ten thousand ten", "一万零一十"),
        (100000, "one hundred thousand", "十万"),
        (100200300, "one hundred million two hundred thousand three hundred", "一亿零二十万零三百"),
    ],
)
def test_cardinals(number: int, english: str, chinese: str) -> None:
    assert (en_cardinal(number), zh_cardinal(number)) == (english, chinese)


def test_round_years() -> None:
    assert [en_year(year) for year in (1900, 2000, 2010, 1066)] == [
        "nineteen hundred",
        "two thousand",
        "twenty ten",
        "ten sixty six",
    ]
