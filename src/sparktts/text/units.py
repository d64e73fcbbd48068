"""Units and currencies as they are written, and how each language says them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# written: (English for one, English for several, Chinese). "每" at the front goes before the number.
UNITS: dict[str, tuple[str, str, str]] = {
    "km/h": ("kilometer per hour", "kilometers per hour", "每小时公里"),
    "kph": ("kilometer per hour", "kilometers per hour", "每小时公里"),
    "m/s": ("meter per second", "meters per second", "每秒米"),
    "mph": ("mile per hour", "miles per hour", "每小时英里"),
    "kbps": ("kilobit per second", "kilobits per second", "每秒千比特"),
    "Mbps": ("megabit per second", "megabits per second", "每秒兆比特"),
    "Gbps": ("gigabit per second", "gigabits per second", "每秒吉比特"),
    "MB/s": ("megabyte per second", "megabytes per second", "每秒兆字节"),
    "GB/s": ("gigabyte per second", "gigabytes per second", "每秒吉字节"),
    "fps": ("frame per second", "frames per second", "帧每秒"),
    "rpm": ("revolution per minute", "revolutions per minute", "转每分钟"),
    "km²": ("square kilometer", "square kilometers", "平方公里"),
    "km2": ("square kilometer", "square kilometers", "平方公里"),
    "m²": ("square meter", "square meters", "平方米"),
    "m2": ("square meter", "square meters", "平方米"),
    "cm²": ("square centimeter", "square centimeters", "平方厘米"),
    "m³": ("cubic meter", "cubic meters", "立方米"),
    "m3": ("cubic meter", "cubic meters", "立方米"),
    "cm³": ("cubic centimeter", "cubic centimeters", "立方厘米"),
    "km": ("kilometer", "kilometers", "公里"),
    "cm": ("centimeter", "centimeters", "厘米"),
    "mm": ("millimeter", "millimeters", "毫米"),
    "nm": ("nanometer", "nanometers", "纳米"),
    "μm": ("micrometer", "micrometers", "微米"),
    "m": ("meter", "meters", "米"),
    "ft": ("foot", "feet", "英尺"),
    "kg": ("kilogram", "kilograms", "公斤"),
    "mg": ("milligram", "milligrams", "毫克"),
    "μg": ("microgram", "micrograms", "微克"),
    "g": ("gram", "grams", "克"),
    "lbs": ("pound", "pounds", "磅"),
    "lb": ("pound", "pounds", "磅"),
    "oz": ("ounce", "ounces", "盎司"),
    "ml": ("milliliter", "milliliters", "毫升"),
    "mL": ("milliliter", "milliliters", "毫升"),
    "L": ("liter", "liters", "升"),
    "kWh": ("kilowatt hour", "kilowatt hours", "千瓦时"),
    "mAh": ("milliamp hour", "milliamp hours", "毫安时"),
    "MW": ("megawatt", "megawatts", "兆瓦"),
    "kW": ("kilowatt", "kilowatts", "千瓦"),
    "W": ("watt", "watts", "瓦"),
    "kV": ("kilovolt", "kilovolts", "千伏"),
    "V": ("volt", "volts", "伏"),
    "GHz": ("gigahertz", "gigahertz", "吉赫兹"),
    "MHz": ("megahertz", "megahertz", "兆赫兹"),
    "kHz": ("kilohertz", "kilohertz", "千赫兹"),
    "Hz": ("hertz", "hertz", "赫兹"),
    "dB": ("decibel", "decibels", "分贝"),
    "Pa": ("pascal", "pascals", "帕"),
    "kPa": ("kilopascal", "kilopascals", "千帕"),
    "TB": ("terabyte", "terabytes", "TB"),
    "GB": ("gigabyte", "gigabytes", "GB"),
    "MB": ("megabyte", "megabytes", "MB"),
    "KB": ("kilobyte", "kilobytes", "KB"),
    "kB": ("kilobyte", "kilobytes", "KB"),
    "kcal": ("kilocalorie", "kilocalories", "千卡"),
    "cal": ("calorie", "calories", "卡"),
    "hrs": ("hour", "hours", "小时"),
    "hr": ("hour", "hours", "小时"),
    "h": ("hour", "hours", "小时"),
    "min": ("minute", "minutes", "分钟"),
    "sec": ("second", "seconds", "秒"),
    "ms": ("millisecond", "milliseconds", "毫秒"),
    "s": ("second", "seconds", "秒"),
    "px": ("pixel", "pixels", "像素"),
    "°C": ("degree Celsius", "degrees Celsius", "摄氏度"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit", "华氏度"),
    "°": ("degree", "degrees", "度"),
    "USD": ("US dollar", "US dollars", "美元"),
    "RMB": ("yuan", "yuan", "元人民币"),
    "CNY": ("yuan", "yuan", "元人民币"),
    "EUR": ("euro", "euros", "欧元"),
    "GBP": ("pound", "pounds", "英镑"),
    "JPY": ("yen", "yen", "日元"),
}

# written: (English for one, English for several, one hundredth, hundredths, Chinese)
CURRENCIES: dict[str, tuple[str, str, str, str, str]] = {
    "US$": ("US dollar", "US dollars", "cent", "cents", "美元"),
    "HK$": ("Hong Kong dollar", "Hong Kong dollars", "cent", "cents", "港元"),
    "$": ("dollar", "dollars", "cent", "cents", "美元"),
    "€": ("euro", "euros", "cent", "cents", "欧元"),
    "£": ("pound", "pounds", "penny", "pence", "英镑"),
    "¥": ("yuan", "yuan", "", "", "元"),
    "￥": ("yuan", "yuan", "", "", "元"),
    "₩": ("won", "won", "", "", "韩元"),
    "₹": ("rupee", "rupees", "", "", "卢比"),
}


def _either(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


# One letter after a space is more often a name ("5 V", "3 m") than not, but never across a line.
UNIT = f"(?:{_either(UNITS)})(?![A-Za-z0-9])"
CURRENCY = f"(?:{_either(CURRENCIES)})"
