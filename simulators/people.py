"""People who do not exist, with their births and the land that they would own: the same for the same seed.

Names are spelled as a registry spells them, in Albanian, in Serbian Latin or in Serbian Cyrillic. Numbers of
zones and parcels have the form that the Kosovo Cadastral Agency uses (`P-71914059-01234-0`); all values
are invented. Coordinates are KOSOVAREF01 / Balkans zone 7 (EPSG:9141) and lie around Pristina.
"""

import random
from dataclasses import dataclass
from datetime import date, timedelta

COORDINATE_SYSTEM = "EPSG:9141"
ADULTS_BORN = (date(1942, 1, 1), date(2004, 12, 31))
CHILDREN_BORN = (date(2012, 1, 1), date(2024, 12, 31))
CARDS_EXPIRE = date(2034, 1, 1)
"""No card expires before this day, so that the city can be played for years."""
DIGITS = "0123456789"

_ALBANIAN_MEN = (
    "Agim",
    "Arben",
    "Besnik",
    "Blerim",
    "Dardan",
    "Fatmir",
    "Gëzim",
    "Ilir",
    "Kushtrim",
    "Përparim",
)
_ALBANIAN_WOMEN = (
    "Arta",
    "Besa",
    "Çlirimtare",
    "Drita",
    "Flutura",
    "Lirije",
    "Majlinda",
    "Shpresa",
    "Valdete",
    "Zamire",
)
_ALBANIAN_SURNAMES = (
    "Berisha",
    "Çerkini",
    "Gashi",
    "Hoxha",
    "Krasniqi",
    "Morina",
    "Rexhëpi",
    "Shala",
    "Thaçi",
    "Ymeri",
)
_SERBIAN_MEN = ("Đorđe", "Goran", "Miloš", "Nebojša", "Živko")
_SERBIAN_WOMEN = ("Ljiljana", "Jelena", "Snežana", "Vesna", "Žaklina")
_SERBIAN_SURNAMES = ("Đorđević", "Jovanović", "Ljubić", "Njegovan", "Šabanović")
_CYRILLIC_MEN = ("Ђорђе", "Горан", "Милош", "Небојша", "Живко")
_CYRILLIC_WOMEN = ("Љиљана", "Јелена", "Снежана", "Весна", "Жаклина")
_CYRILLIC_SURNAMES = ("Ђорђевић", "Јовановић", "Љубић", "Његован", "Шабановић")

_SPELLINGS = (
    (_ALBANIAN_MEN, _ALBANIAN_WOMEN, _ALBANIAN_SURNAMES),
    (_SERBIAN_MEN, _SERBIAN_WOMEN, _SERBIAN_SURNAMES),
    (_CYRILLIC_MEN, _CYRILLIC_WOMEN, _CYRILLIC_SURNAMES),
)
_SPELLING_WEIGHTS = (8, 1, 1)

ZONES = (
    ("71914059", "Prishtinë"),
    ("71914020", "Çagllavicë"),
    ("71914033", "Llukar"),
    ("71914041", "Mati"),
    ("71914056", "Sofali"),
    ("71914011", "Gračanica"),
)
"""Code and name of cadastral zones; the codes follow the form, the numbers are invented."""
_PLACES = ("Te kroi", "Arat e gjata", "Mbi rrugë", "Kodra", "Livadhi i madh", "Kod crkve", "Dolina", "Qendër")
_BIRTHPLACES = (
    ("Prishtinë", "Prishtinë"),
    ("Gračanica", "Gračanica"),
    ("Llukar", "Prishtinë"),
    ("Podujevë", "Podujevë"),
    ("Prizren", "Prizren"),
)
"""Place and municipality, spelled as a register spells them."""
NO_FATHER_SHARE = 0.05
_STREETS = ("Rr. Agim Ramadani", "Rr. Nëna Terezë", "Bul. Bill Klinton", "Rr. Fehmi Agani", "Ul. Cara Dušana")
USES = ("house-and-yard", "arable", "meadow", "pasture", "orchard", "forest", "building-land", "road")
RIGHTS = ("mortgage", "right-of-way", "lease", "court-order")
_BENEFICIARIES = {
    "mortgage": ("Banka e Parë sh.a.", "Banka Qytetare sh.a."),
    "right-of-way": ("KEDS sh.a.", "Komuna e Prishtinës"),
    "lease": ("Agro Kosova sh.p.k.",),
    "court-order": ("Gjykata Themelore në Prishtinë",),
}


@dataclass(frozen=True)
class Person:
    """One person; `person` is the registry's own opaque id, `sex` is `M` or `F`."""

    person: str
    personal_number: str
    document_number: str
    document_expires: date
    given_names: str
    surname: str
    sex: str
    date_of_birth: date
    address: str
    spouse: str | None = None
    parents: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The whole name as the registry spells it."""
        return f"{self.given_names} {self.surname}"


@dataclass(frozen=True)
class Parcel:
    """One parcel; `y_m` is the easting and `x_m` the northing of its reference point."""

    number: str
    place: str
    use: str
    area_m2: int
    y_m: float
    x_m: float


@dataclass(frozen=True)
class Right:
    """A right of others, or an encumbrance, on one parcel."""

    kind: str
    parcel: str
    in_favour_of: str
    reference: str
    since: date


@dataclass(frozen=True)
class Share:
    """One holder's part of a possession list, such as `1/2`."""

    person: str
    share: str


@dataclass(frozen=True)
class PossessionList:
    """What one or several persons hold in one cadastral zone; `changed_on` is its last change."""

    number: str
    zone_code: str
    zone: str
    shares: tuple[Share, ...]
    parcels: tuple[Parcel, ...]
    rights: tuple[Right, ...]
    changed_on: date


@dataclass(frozen=True)
class Parent:
    """One parent as the register of births has it; `birth_surname` is empty where it is the same."""

    name: str
    birth_surname: str = ""


@dataclass(frozen=True)
class Birth:
    """One entry of the register of births; `person` is whose it is."""

    number: str
    person: str
    registered_on: date
    place: str
    municipality: str
    father: Parent | None
    mother: Parent | None


@dataclass(frozen=True)
class City:
    """Everybody, everything that they hold and every birth, by id."""

    persons: dict[str, Person]
    lists: dict[str, PossessionList]
    births: dict[str, Birth]

    def lists_of(self, person: str) -> list[PossessionList]:
        """The lists on which `person` is a holder."""
        return [held for held in self.lists.values() if any(share.person == person for share in held.shares)]

    def birth_of(self, person: str) -> Birth:
        """The entry of `person`; everybody has one."""
        return next(birth for birth in self.births.values() if birth.person == person)

    def family(self, person: str) -> dict[str, str]:
        """Spouse and children of `person`, each with what they are: `spouse` or `child`."""
        found = {each.person: "child" for each in self.persons.values() if person in each.parents}
        spouse = self.persons[person].spouse
        return found | ({spouse: "spouse"} if spouse else {})


def generate(seed: int, households: int = 40) -> City:
    """A city of `households`: adults alone, couples, and couples with children.

    The first household is always a couple with a child, all of whom hold something; the second is a person
    who holds nothing.
    """
    persons, lists = _Maker(random.Random(seed)).city(households)
    # A stream of its own: people and land stay the same whatever else is drawn.
    births = _births(random.Random(f"{seed} births"), persons)
    return City(persons, lists, births)


def _births(chance: random.Random, persons: dict[str, Person]) -> dict[str, Birth]:
    """One entry each; the parents of adults are names only, and some have no father recorded."""
    found: dict[str, Birth] = {}
    for person in persons.values():
        number = f"L-{person.date_of_birth.year}-{len(found) + 1:06d}"
        place, municipality = chance.choice(_BIRTHPLACES)
        father, mother = _parents(chance, persons, person)
        registered_on = person.date_of_birth + timedelta(days=chance.randint(1, 30))
        found[number] = Birth(number, person.person, registered_on, place, municipality, father, mother)
    return found


def _parents(
    chance: random.Random, persons: dict[str, Person], person: Person
) -> tuple[Parent | None, Parent | None]:
    known = [persons[parent] for parent in person.parents]
    if known:
        father, mother = sorted(known, key=lambda each: each.sex, reverse=True)
        surnames = _spelling_of(person)[2]
        return Parent(father.name), Parent(mother.name, chance.choice(surnames))
    men, women, surnames = _spelling_of(person)
    mother_alone = chance.random() < NO_FATHER_SHARE
    father_name = None if mother_alone else Parent(f"{chance.choice(men)} {person.surname}")
    return father_name, Parent(f"{chance.choice(women)} {person.surname}", chance.choice(surnames))


def _spelling_of(person: Person) -> tuple[tuple[str, ...], ...]:
    return next(each for each in _SPELLINGS if person.surname in each[2])


class _Maker:
    """Draws everything from one stream of chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.persons: dict[str, Person] = {}
        self.lists: dict[str, PossessionList] = {}

    def city(self, households: int) -> tuple[dict[str, Person], dict[str, PossessionList]]:
        for number in range(households):
            family = number == 0 or (number > 1 and self.chance.random() < 0.4)
            self._household(family=family, landless=number == 1)
        return self.persons, self.lists

    def _household(self, *, family: bool, landless: bool) -> None:
        spelling = self.chance.choices(_SPELLINGS, _SPELLING_WEIGHTS)[0]
        surname = self.chance.choice(spelling[2])
        address = f"{self.chance.choice(_STREETS)} {self.chance.randint(1, 180)}, Prishtinë"
        man = self._person(spelling, "M", surname, ADULTS_BORN, address)
        if not family:
            if not landless:
                self._list((Share(man.person, "1/1"),))
            return
        woman = self._person(spelling, "F", surname, ADULTS_BORN, address, spouse=man.person)
        self.persons[man.person] = Person(**{**vars(man), "spouse": woman.person})
        child = self._person(
            spelling, "F", surname, CHILDREN_BORN, address, parents=(man.person, woman.person)
        )
        self._list((Share(man.person, "1/2"), Share(woman.person, "1/2")))
        self._list((Share(woman.person, "1/1"),))
        if self.chance.random() < 0.3 or len(self.lists) == 2:
            self._list((Share(child.person, "1/1"),))

    def _person(
        self,
        spelling: tuple[tuple[str, ...], ...],
        sex: str,
        surname: str,
        born: tuple[date, date],
        address: str,
        *,
        spouse: str | None = None,
        parents: tuple[str, ...] = (),
    ) -> Person:
        given = self.chance.choice(spelling[0 if sex == "M" else 1])
        person = Person(
            person=f"{self.chance.getrandbits(64):016x}",
            personal_number=self._number(10, {each.personal_number for each in self.persons.values()}),
            document_number=self._number(9, {each.document_number for each in self.persons.values()}),
            document_expires=CARDS_EXPIRE + timedelta(days=self.chance.randrange(3 * 365)),
            given_names=given,
            surname=surname,
            sex=sex,
            date_of_birth=born[0] + timedelta(days=self.chance.randrange((born[1] - born[0]).days)),
            address=address,
            spouse=spouse,
            parents=parents,
        )
        self.persons[person.person] = person
        return person

    def _number(self, length: int, taken: set[str]) -> str:
        while True:
            number = self.chance.choice(DIGITS[1:]) + "".join(self.chance.choices(DIGITS, k=length - 1))
            if number not in taken:
                return number

    def _list(self, shares: tuple[Share, ...]) -> None:
        zone_code, zone = self.chance.choice(ZONES)
        number = f"UL-{zone_code}-{len(self.lists) + 1:05d}"
        parcels = tuple(self._parcel(zone_code) for _ in range(self.chance.choice((1, 1, 2, 3, 5))))
        rights = (self._right(self.chance.choice(parcels)),) if self.chance.random() < 0.35 else ()
        changed_on = date(2009, 1, 1) + timedelta(days=self.chance.randrange(365 * 17))
        self.lists[number] = PossessionList(number, zone_code, zone, shares, parcels, rights, changed_on)

    def _parcel(self, zone_code: str) -> Parcel:
        use = self.chance.choice(USES)
        area = {"house-and-yard": (180, 900), "building-land": (250, 1500), "road": (40, 400)}
        low, high = area.get(use, (600, 18_000))
        return Parcel(
            number=f"P-{zone_code}-{self.chance.randint(1, 9999):05d}-{self.chance.choice((0, 0, 0, 1, 2))}",
            place=self.chance.choice(_PLACES),
            use=use,
            area_m2=self.chance.randint(low, high),
            y_m=round(7_512_000 + self.chance.uniform(-6000, 6000), 2),
            x_m=round(4_724_000 + self.chance.uniform(-5000, 5000), 2),
        )

    def _right(self, parcel: Parcel) -> Right:
        kind = self.chance.choice(RIGHTS)
        return Right(
            kind=kind,
            parcel=parcel.number,
            in_favour_of=self.chance.choice(_BENEFICIARIES[kind]),
            reference=f"{self.chance.randint(100, 9999)}/{self.chance.randint(2009, 2026)}",
            since=date(2009, 1, 1) + timedelta(days=self.chance.randrange(365 * 17)),
        )
