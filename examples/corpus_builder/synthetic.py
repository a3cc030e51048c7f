"""Made-up text: advertising spam, the usual kinds of junk, and honest posts that share words with the spam.

All names are invented, all hosts end in the reserved `.example`, and nothing here offends: the spam stands
for what a curation run would reject as harmful without being harmful itself.
"""

from .draw import Draw

__all__ = ["JUNK_KINDS", "SPAM_HOSTS", "SPAM_KINDS", "honest_post", "junk", "spam", "spam_page"]

_BRANDS = (
    "Lucky Reels",
    "Golden Parrot",
    "MegaSpin Palace",
    "VitaBlitz",
    "PillPlanet",
    "EasyRich Club",
    "CoinVolcano",
    "Star Jackpot",
    "HappyCapsule",
    "Turbo Loan Desk",
    "Velvet Chat",
    "SlimQuick Direct",
)
_PRIZES = (
    "a silver yacht",
    "two million credits",
    "a year of free spins",
    "the grand welcome package",
    "a golden ticket",
    "the diamond jackpot",
    "ten thousand bonus coins",
    "a mystery holiday",
)
_PILLS = ("VitaBlitz", "NeuroSpark", "SlimQuick", "JoyCaps", "Zentrol", "MaxoVit", "DreamDrops")
_CODES = ("WIN777", "SPIN2000", "LUCKY88", "GOLD500", "BONUS50", "RICH99", "FAST24")

SPAM_HOSTS = {
    "casino": ("lucky-reels.example", "megaspin-palace.example"),
    "pills": ("pillplanet.example", "happycapsule.example"),
    "lottery": ("golden-ticket-draw.example", "star-jackpot.example"),
    "money": ("easyrich-club.example", "coinvolcano.example"),
    "mature": ("velvet-chat.example",),
}
SPAM_KINDS = tuple(SPAM_HOSTS)

_SPAM = {
    "casino": (
        "Spin the reels at {brand} tonight and take home {prize}!!!",
        "NO deposit needed, just enter the bonus code {code} and play {n} free spins now.",
        "Our hottest slots pay out {n}% more than any other online casino, guaranteed.",
        "Roulette, blackjack, poker and {n} jackpot games are waiting for lucky players like you.",
        "Players from Exampleville won {prize} last night, and the next big winner could be YOU.",
        "Hurry, the double bonus ends in {n} minutes, click here to claim your casino chips.",
        "Best online casino, best casino bonus, best casino games, real money casino wins every day.",
        "Register at {brand} in seconds, deposit ten coins and we will triple them instantly.",
    ),
    "pills": (
        "Buy {pill} online today, no prescription, no questions, {n}% discount for new customers.",
        "Doctors do not want you to know about {pill}, the miracle pill that works in {n} hours.",
        "Cheap pills, cheap {pill}, cheapest {pill} delivery worldwide in plain discreet packaging.",
        "Lose weight fast with {pill}: melt away {n} pounds without diet and without exercise!!!",
        "Order {n} boxes of {pill} and get {n} bonus pills absolutely free, limited stock.",
        "Feel younger, stronger and happier with one tiny capsule of {pill} every morning.",
        "{brand} ships {pill} overnight, secure checkout, money back guarantee, order now.",
    ),
    "lottery": (
        "CONGRATULATIONS dear winner, your address was selected for {prize} in our international lottery.",
        "To release your winnings reply at once with your full name and the reference number {code}-{n}.",
        "This is not a joke, you are visitor number {n} and you have WON {prize}!!!",
        "The claims department of {brand} will transfer the prize money within {n} hours.",
        "Keep this lottery award confidential until your claim has been processed by our agent.",
        "Only a small processing fee stands between you and {prize}, act before midnight.",
        "Your ticket {code} matched all the winning numbers in the promotional sweepstake draw.",
    ),
    "money": (
        "Earn {n} coins per day from home with the secret system of {brand}, no experience needed.",
        "Double your coins in {n} hours, guaranteed profit, zero risk, instant payout.",
        "Bad credit? No problem! {brand} approves every loan in {n} minutes, click to apply.",
        "This weird trick made an ordinary clerk from Sampletown rich in only {n} days.",
        "Join {n} happy investors and watch your balance explode while you sleep.",
        "Send us one coin and receive {n} coins back, this offer is real and expires today.",
        "Financial freedom is one click away, use the invitation code {code} before it is too late.",
    ),
    "mature": (
        "Lonely evening? Charming singles near Exampleville are waiting to chat with you on {brand}.",
        "Adults only: open your free {brand} profile and meet {n} new admirers tonight.",
        "Brand new profiles every {n} minutes, private messages, discreet and completely anonymous.",
        "She viewed your profile {n} times, click here to unlock her secret message.",
        "No names, no strings, just cheeky winks and late night chat with grown-ups like you.",
        "Become a VIP member with the code {code} and see every private photo album.",
        "Real singles, real romance, real fast: your romantic adventure starts with one click.",
    ),
}
_CALLS = (
    "Click here now!!!",
    "CLICK >>> http://{host}/{code} <<< CLICK",
    "Order now, offer ends soon!",
    "Act FAST, limited time only.",
    "100% free, 100% legal, 100% guaranteed.",
    "Unsubscribe at any time.",
    "Share with {n} friends to unlock more.",
)

_TOPICS = {
    "garden": (
        "tomatoes",
        "compost",
        "raised beds",
        "seedlings",
        "slugs",
        "the greenhouse",
        "pruning",
        "mulch",
    ),
    "bicycle": (
        "the rear derailleur",
        "brake pads",
        "the chain",
        "a bent rim",
        "the headset",
        "tubeless tyres",
        "saddle height",
    ),
    "kitchen": (
        "sourdough",
        "the oven",
        "a cast iron pan",
        "lentil soup",
        "pickled cabbage",
        "pie crust",
        "fresh pasta",
    ),
    "library": (
        "the catalogue",
        "interlibrary loans",
        "the reading group",
        "old newspapers",
        "the index cards",
        "binding",
    ),
    "radio": (
        "the dipole antenna",
        "solder joints",
        "a noisy amplifier",
        "the ground wire",
        "the tuning coil",
        "shortwave reception",
    ),
}
_POSTS = (
    "I spent most of the weekend on {a}, and I think I finally understand what I had been doing wrong.",
    "Has anybody here tried to combine {a} with {b}, or is that asking for trouble?",
    "My neighbour, who has done this for thirty years, says that {a} should always come before {b}.",
    "The instructions were vague, so I took everything apart, cleaned it, and started again with {a}.",
    "Thank you for the detailed answer last week; your advice about {a} saved me a lot of time.",
    "In my experience the cheap parts are fine for {b}, but for {a} it pays to buy something solid.",
    "I attach no pictures because the light was poor, but I will describe {a} as well as I can.",
    "What surprised me was how much the weather matters: on a damp day {b} behaves quite differently.",
    "If you are new to this, read the notes at the top of the page first, then come back to {a}.",
    "We will meet at the community hall on the first Tuesday of the month to talk about {a} and {b}.",
    "It took three attempts, two cups of tea and a good deal of patience, but {a} works now.",
    "Please let me know whether the same thing happens to you with {b} after a few months.",
)
_NEAR_SPAM = (
    "The pharmacy on Mill Street is closed on Monday; the one at the market will fill a prescription.",
    "Our village lottery paid for the roof of the school, and the winners gave half of it back.",
    "The casino in the old spa town is now a museum, and its card tables are shown in the blue room.",
    "The bank has changed the form for a small loan, so bring a payslip and two signed copies.",
    "Vitamin tablets are no substitute for vegetables, the nurse told the club, and nobody disagreed.",
    "The evening for single people at the dance school starts at seven, and tea is served in the break.",
    "Remember that no bank, shop or lottery will ever ask for your password by mail; delete such messages.",
    "The bonus round of the pub quiz was about rivers, and the prize was a basket of apples.",
)
_LOREM = (
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consectetur",
    "adipiscing",
    "elit",
    "sed",
    "do",
    "eiusmod",
    "tempor",
    "incididunt",
    "ut",
    "labore",
    "et",
    "dolore",
    "magna",
    "aliqua",
    "ut",
    "enim",
    "ad",
    "minim",
    "veniam",
    "quis",
    "nostrud",
    "exercitation",
    "ullamco",
    "laboris",
    "nisi",
    "ut",
    "aliquip",
    "ex",
    "ea",
    "commodo",
    "consequat",
)
_BANNERS = (
    "We use cookies to personalise content and ads, to provide social features and to analyse our traffic.",
    "By continuing to browse this site you agree to our use of cookies.",
    "Accept all | Reject all | Manage preferences",
    "Please enable JavaScript to view this page properly.",
    "All rights reserved. Terms of use. Privacy policy. Imprint. Contact.",
    "Sign up for our newsletter and never miss an update.",
    "Share this: Facebook Twitter Pinterest Email Print",
    "You must be logged in to post a comment.",
    "Read more... Read more... Read more...",
)

JUNK_KINDS = (
    "banner",
    "lorem",
    "mash",
    "symbols",
    "bullets",
    "repeated",
    "shouting",
    "numbers",
    "one_word",
    "links",
    "blank",
)


def spam(kind: str, host: str, draw: Draw) -> str:
    """Advertising spam of one of `SPAM_KINDS`, five to eleven sentences long."""
    lines = draw.some(_SPAM[kind], draw.integer(4, 7)) + draw.some(_CALLS, draw.integer(1, 3))
    if draw.uniform(0, 1) < 0.3:
        lines += draw.some(_SPAM[draw.one(SPAM_KINDS)], 2)
    filled = [
        line.format(
            brand=draw.one(_BRANDS),
            prize=draw.one(_PRIZES),
            pill=draw.one(_PILLS),
            code=draw.one(_CODES),
            n=draw.integer(2, 990),
            host=host,
        )
        for line in lines
    ]
    return (" " if draw.uniform(0, 1) < 0.6 else "\n").join(filled)


def spam_page(kind: str, host: str, draw: Draw) -> str:
    """The same as a web page with a menu, three blocks of spam and a footer."""
    blocks = "\n".join(
        f"<div class='offer'><h2>{draw.one(_BRANDS)}</h2><p>{spam(kind, host, draw)}</p></div>".replace(
            ">>>", "&gt;&gt;&gt;"
        ).replace("<<<", "&lt;&lt;&lt;")
        for _ in range(3)
    )
    menu = "".join(
        f"<li><a href='/{word}'>{word.title()}</a></li>"
        for word in ("home", "bonus", "vip", "faq", "winners")
    )
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{draw.one(_BRANDS)} - {draw.one(_PRIZES)}</title></head>\n"
        f"<body><nav><ul>{menu}</ul></nav>\n<main>{blocks}</main>\n"
        f"<footer>{' '.join(draw.some(_BANNERS, 3))}</footer></body></html>\n"
    )


def honest_post(draw: Draw, low: int = 2, high: int = 7, near_spam: bool = False) -> str:
    """A post about a hobby; with `near_spam`, one that uses the spam's words for what they mean."""
    a, b = draw.some(_TOPICS[draw.one(tuple(_TOPICS))], 2)
    lines = [line.format(a=a, b=b) for line in draw.some(_POSTS, draw.integer(low, high))]
    if near_spam:
        lines[1:1] = draw.some(_NEAR_SPAM, draw.integer(2, 3))
    return " ".join(line[0].upper() + line[1:] for line in lines)


def _word(draw: Draw, letters: str, low: int, high: int) -> str:
    return "".join(draw.one(letters) for _ in range(draw.integer(low, high)))


def junk(kind: str, draw: Draw) -> str:
    """Text that heuristics should reject, of one of `JUNK_KINDS`."""
    if kind == "banner":
        return "\n".join(draw.some(_BANNERS, draw.integer(2, 6)))
    if kind == "lorem":
        return ". ".join(
            " ".join(draw.one(_LOREM) for _ in range(draw.integer(8, 18))).capitalize() for _ in range(8)
        )
    if kind == "mash":
        return " ".join(_word(draw, "asdfghjklqwertyuiopzxcvbnm", 2, 14) for _ in range(draw.integer(20, 90)))
    if kind == "symbols":
        return " ".join(_word(draw, "#*=~-_+|/\\<>{}[]$%&@!?", 1, 30) for _ in range(draw.integer(15, 50)))
    if kind == "bullets":
        words = tuple(word for topic in _TOPICS.values() for word in topic)
        return "\n".join(f"{draw.one('•-*')} {draw.one(words)}" for _ in range(draw.integer(12, 30)))
    if kind == "repeated":
        return "\n".join([honest_post(draw, 1, 1)] * draw.integer(6, 16))
    if kind == "shouting":
        return honest_post(draw, 3, 5).upper().replace(".", "!!!!")
    if kind == "numbers":
        return "\n".join(
            "\t".join(str(draw.integer(0, 99999)) for _ in range(draw.integer(3, 8))) for _ in range(15)
        )
    if kind == "one_word":
        return draw.one(("ok", "thanks", "+1", "bump", "first", "lol", "this", "?", "Same here."))
    if kind == "links":
        return "\n".join(
            f"https://{_word(draw, 'abcdefghij', 4, 9)}.example/{draw.integer(1, 9999)}" for _ in range(14)
        )
    return " " * draw.integer(1, 20)
