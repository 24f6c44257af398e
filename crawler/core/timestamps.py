"""Times in a text, folded to one sign: a page that only says when it was made says the same as before.

    bytes ──► places where a time may be: 0:00, 0000-00, 0 pm, 0 min ──► is it one, from a few bytes before? ──► SIGN

1. What is no time is left as it is: prices, versions, telephone numbers, addresses, sections, scores, a bare year.
2. Every time is one sign, however long or precise; two times are two signs.
3. Time and memory grow with the bytes and no faster: a place is looked at once, within `BEFORE` and `AFTER` of it.

What stamps pages is the present: only the years 2000 to 2099 are looked for, and Unix times of 2001 to 2033 (those that begin
with 2 would be American telephone numbers). What has no digit is not looked for: ``yesterday`` costs a search for every such word.
Nor is a written date that has neither a year nor a time of day beside it: ``May 5``.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Final

SIGN: Final = b"\xff"
"""Stands for a time: a byte that is in no UTF-8."""

MANY: Final = 1_000
"""Places. A page with more of them is a log or a table of times: they are what it says, and all of them count."""

BEFORE: Final = 48
"""Bytes of a time before the place that gives it away: ``Wednesday, the 21st of September 2026``."""
AFTER: Final = 128
"""Bytes of a time behind it: more than any has."""

_MONTHS: Final = """
    january february march april may june july august september october november december
    jan feb mar apr jun jul aug sep sept oct nov dec
    januar jänner februar feber märz mai juni juli oktober dezember mär mrz okt dez
    janvier février mars avril juin juillet août septembre octobre novembre décembre janv févr avr juil déc
    enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre ene abr ago dic
    gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre gen mag giu lug set ott
    janeiro fevereiro março maio junho julho setembro outubro novembro dezembro fev out
    januari februari maart mei augustus mrt
    stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
    января февраля марта апреля мая июня июля августа сентября октября ноября декабря
"""
"""English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Russian."""
_WEEKDAYS: Final = """
    monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun
    montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa so
    lundi mardi mercredi jeudi vendredi samedi dimanche lun mar mer jeu ven sam dim
    lunes martes miércoles jueves viernes sábado domingo mié jue vie sáb dom
    lunedì martedì mercoledì giovedì venerdì sabato domenica gio
    segunda-feira terça-feira quarta-feira quinta-feira sexta-feira
    maandag dinsdag woensdag donderdag vrijdag zaterdag zondag
    poniedziałek wtorek czwartek piątek sobota niedziela
"""


def _one_of(words: str) -> str:
    """An expression for one of these words, the longest first; by first letter, or each place would cost a hundred comparisons."""
    by_letter: dict[str, list[str]] = {}
    for word in sorted(set(words.split()), key=len, reverse=True):
        encoded = word.encode().decode("latin-1")
        by_letter.setdefault(encoded[0], []).append(encoded[1:])
    return "(?:" + "|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in by_letter.items()) + ")"


def _bytes(characters: str) -> str:
    """As they look in UTF-8 read as Latin-1, in which the expressions are put together."""
    return characters.encode().decode("latin-1")


_GAP: Final = "(?:[\t-\r ]{1,8}|" + _bytes("\N{NO-BREAK SPACE}|\N{NARROW NO-BREAK SPACE}") + ")"
_YEAR: Final = "20[0-9]{2}"
_MONTH: Final = _one_of(_MONTHS)
_DAY: Final = "(?:0?[1-9]|[12][0-9]|3[01])"
_NUMBER: Final = "(?:0?[1-9]|1[0-2])"
"""A month as one."""
_WEEKDAY: Final = _one_of(_WEEKDAYS)
_ZONE: Final = r"(?:z|(?:utc|gmt)(?:[+-][0-9]{1,2}(?::?[0-9]{2})?)?|[+-][0-9]{4}|[cew]es?t|[cemp][ds]t|bst|ist|jst|kst|msk)(?!\w)"
_HALF: Final = r"(?:[ap]m(?!\w)|[ap]\.m\.)"
"""Of the day."""
_CLOCK: Final = (
    rf"(?:[01]?[0-9]|2[0-4]):[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{{1,9}})?)?(?![0-9]|[:.,][0-9])"
    rf"(?:{_GAP}?{_HALF})?(?:{_GAP}?{_ZONE})?(?!\w)"
)
_PRECISE: Final = (
    r"[0-2][0-9]:[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]{1,9})?)?(?:z|[+-][0-9]{2}:?[0-9]{2})?(?![\w:])"
)
"""RFC 3339, behind its T."""
_HOUR: Final = rf"(?:1[0-2]|0?[1-9]){_GAP}?(?:pm(?!\w)|p\.m\.|a\.m\.|(?<=[0-9])am(?!\w)|am(?!\w|{_GAP}[a-z]))"
"""German puts ``am`` between a number and a word, too."""
_DASH: Final = _bytes("\N{EN DASH}")
_AT: Final = (
    rf"(?:,?{_GAP}(?:(?:at|um|om|kl\.|ore|{_bytes('à')}|a las|@|-|{_DASH}|{_bytes('·')}|\|){_GAP})?|:)"
)
"""Between a date and a time of day; the colon is Apache's."""
_ORDINAL: Final = rf"(?:st|nd|rd|th|er|\.|{_bytes('º')})?"
_OF: Final = f"(?:{_GAP}(?:of|de|del)(?:{_GAP}the)?)?"
_BETWEEN: Final = f"(?:{_GAP}|[/-])"
_NOT_MORE: Final = r"(?!\w|[./-]\w)"
"""Behind a date: the name of a file goes on."""
_FROM_YEAR: Final = (
    rf"20[0-9]{{2}}(?:-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?:[t_]{_PRECISE})?{_NOT_MORE}"
    rf"|/{_NUMBER}/{_DAY}{_NOT_MORE}"
    rf"|{_BETWEEN}{_MONTH}\.?{_BETWEEN}{_DAY}{_NOT_MORE}"
    + "".join(
        f"|{_bytes(year)}{_GAP}?{_NUMBER}{_bytes(month)}{_GAP}?{_DAY}{_bytes(day)}"
        for year, month, day in ("年月日", "년월일")
    )
    + ")"
)
_FROM_DAY: Final = (
    rf"{_DAY}(?:\.{_GAP}?{_NUMBER}\.{_GAP}?{_YEAR}{_NOT_MORE}"
    rf"|/{_DAY}/{_YEAR}{_NOT_MORE}"
    rf"|-{_NUMBER}-{_YEAR}{_NOT_MORE}"
    rf"|{_ORDINAL}{_OF}{_BETWEEN}{_MONTH}\.?(?:,?{_OF}{_BETWEEN}{_YEAR}{_NOT_MORE}|(?:-[0-9]{{2}})?(?={_AT}{_CLOCK})))"
)
_FROM_MONTH: Final = (
    rf"{_MONTH}\.?{_GAP}{_DAY}(?:{_ORDINAL},?{_GAP}{_YEAR}{_NOT_MORE}"
    rf"|{_GAP}{_CLOCK}{_GAP}{_YEAR}{_NOT_MORE}|{_ORDINAL}(?={_AT}{_CLOCK}))"
)
_UNIT: Final = (
    f"{_GAP}?(?:s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:ou)?rs?|[hdwy]|days?|weeks?|mo(?:nth)?s?|years?)"
)
_AGO: Final = rf"[0-9]{{1,4}}\+?{_UNIT}(?:,?{_GAP}(?:and{_GAP})?[0-9]{{1,4}}{_UNIT})?{_GAP}ago(?!\w)"
_AGO_ELSEWHERE: Final = (
    rf"vor{_GAP}[0-9]{{1,4}}{_GAP}(?:sekunden?|minuten?|stunden?|tag(?:en)?|wochen?|monat(?:en)?|jahr(?:en)?)(?!\w)"
    rf"|il{_GAP}y{_GAP}a{_GAP}[0-9]{{1,4}}{_GAP}(?:secondes?|minutes?|heures?|jours?|semaines?|mois|ans?)(?!\w)"
    rf"|hace{_GAP}[0-9]{{1,4}}{_GAP}(?:segundos?|minutos?|horas?|{_bytes('día')}s?|semanas?|mes(?:es)?|{_bytes('año')}s?)(?!\w)"
)
_UNIX: Final = r"1[0-9]{9}(?:[0-9]{3}|\.[0-9]{1,9})?(?!\w|[.,-][0-9])"
_MORE: Final = rf"(?:{_AT}{_CLOCK})?(?:,?{_GAP}?{_WEEKDAY}(?!\w)|{_GAP}?\({_WEEKDAY}\))?"
"""Behind a date: the time of day, the day of the week."""
_TIME: Final = (
    rf"(?s:.{{0,{BEFORE}}}?)\b(?<!\.)("
    rf"(?=[0-9])(?:(?<![+/-])(?:(?:{_FROM_YEAR}|{_FROM_DAY}){_MORE}|{_AGO}|{_UNIX}|{_HOUR})|(?<![0-9:]:){_CLOCK})"
    rf"|(?=[a-z])(?<![+/-])(?:(?:{_WEEKDAY}[.,]{{0,2}}{_GAP}(?:{_FROM_DAY}|{_FROM_YEAR}|{_FROM_MONTH})"
    rf"|{_FROM_MONTH}){_MORE}|{_AGO_ELSEWHERE}))"
).encode("latin-1")
"""The first time that begins at once or soon, in lower case. Every repetition has a bound, and so has what a place costs."""

_WHITE: Final = b"\t\n\v\f\r\xc2\xa0\xe2\x80\xaf"
_SHAPE: Final = (
    bytes(range(256))
    .lower()
    .translate(bytes.maketrans(b"123456789p" + _WHITE, b"000000000a" + b" " * len(_WHITE)))
)
"""For a first look: lower case, every digit a 0, what is white a blank, and ``pm`` as ``am``."""
_PLACE: Final = re.compile(
    (
        r"0(?::00"
        r"|000(?:0{6}|(?!0|\.0)(?<!00000)"
        rf"(?:(?=-00-|/00?/|[ -][a-z]{{3,9}}\.?[ -]0|{_bytes('年')}|{_bytes('년')})"
        r"|(?<=[a-z.,\x80-\xbf][- /]0000)(?<!ht 0000)(?<!\xa9 0000)(?<!000, 0000)"
        r"|(?<=0[-/. ]0000)(?<!000.0000)))"
        r"|  {0,7}(?:a\.?m(?![a-z])|[a-z]{1,7} {1,7}ago|se[cgkm]|min|mo[in]|stu|tag|woc|jahr|heu|jou|ans|hor|mes|d\xc3|a\xc3)"
        r"|a\.?m(?![a-z]))"
    ).encode("latin-1")
)
"""Where a time may be, in that shape. It begins with one byte, which is sought by `memchr`, and goes on with as few choices as will do.

``Copyright 2026`` and ``2019-2026`` are on every other page, and no dates.
"""
_BEGIN: Final = {b"0000": b"20", b"0" * 10: b"1"}
"""What years and Unix times begin with."""
_NEAR: Final = 24
"""Bytes from a year to another number of its date."""


def folded(text: bytes) -> bytes:
    """UTF-8 text with `SIGN` for every time in it."""
    shape = text.translate(_SHAPE)
    if (first := _PLACE.search(shape)) is None:  # as on most pages
        return text
    places = list(islice(_PLACE.finditer(shape, first.start()), MANY + 1))
    return text if len(places) > MANY else b"".join(_parts(text, shape, places))


@cache
def _times() -> re.Pattern[bytes]:
    """`_TIME`, compiled when it is first needed: that takes 50 ms, and few commands read pages."""
    return re.compile(_TIME)


def _parts(text: bytes, shape: bytes, places: list[re.Match[bytes]]) -> Iterator[bytes]:
    """The text in pieces, `SIGN` where times were."""
    done, time_in = 0, _times()
    for one in places:
        place, end = one.span()
        if not text.startswith(_BEGIN.get(one[0], b""), place) or (
            one[0] == b"0000"
            and shape.find(b"0", max(0, place - _NEAR), place) < 0 > shape.find(b"0", end, end + _NEAR)
        ):
            continue
        while done <= place:
            start = max(done, place - BEFORE)
            seen = max(0, start - 2)  # what stands before a time decides whether it is one
            found = time_in.match(text[seen : place + AFTER].lower(), start - seen)
            if found is None or seen + found.start(1) > place:
                break
            yield text[done : seen + found.start(1)]
            yield SIGN
            done = seen + found.end(1)
    yield text[done:]
