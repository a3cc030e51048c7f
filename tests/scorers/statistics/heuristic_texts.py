"""Texts that statistics stumble over, and strategies that make more of them."""

from hypothesis import strategies as st

NASTY = [
    "",
    " ",
    "\n",
    "\n\n\n",
    "\r\n",
    "\x00",
    "\x00\x00 \x00",
    "...",
    "……",
    "a\r\nb\r\n\r\nc\rd\x85e\u2028f\u2029g\x0bh\x0ci\x1cj",
    "\ufeffBOM and text.",
    "👩‍👩‍👧‍👦 family 🏳️‍🌈 flags 🇩🇪🇫🇷!",
    "e\u0301 cole\u0300 \u0301\u0301\u0301",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "你好，世界。你好，世界。你好，世界。",
    "東京都は日本の首都です。ABCと123。",
    "한국어 문장입니다. 한국어 문장입니다.",
    "the the the the the the the the the the the the",
    "ab c a bc ab c a bc ab c a bc ab c a bc",
    "- one\n- two\n• three\n* four\n\n- one\n- two",
    "# # # ### #hash",
    "Wait... what… really.... no..\nand so on...\nand on…  \nend",
    '"Quoted." (And.) «Так.» „So.“ ”Right.”',
    "\n\nleading and trailing\n\n",
    "   indented line   \n\tindented line\t\nindented line",
    "Mr. Smith's don't can't U.S.A. 5km 10% $5 e.g. i.e. :-) http://a.b.org/c?d=e user@mail.example.com.",
    "x" * 3000 + " " + "y" * 1001,
    "a " * 500,
    "Lorem Ipsum dolor sit amet. { } function() { return 1; }",
    "See [1] and [23] [edit] [citation needed] here [١] now. [2]",
    "This site uses coo\u212aies. Please read our Privacy Policy.",
    "We use JavaScript for this. Terms of Use apply to all of it.",
    "One line of five words.\nTwo of them.\nAnother line with more words in it! And more? Yes.",
    "same paragraph\nof two lines\n\nsame paragraph\nof two lines\n\n\n\nother",
    "\u3000全角\u3000空白\u3000",
    "\U0001f600" * 40,
    "\u200b\u200d\u2060 zero width",
]

_ATOMS = st.sampled_from([
    *"ab.,:;!?-'\"()[]{}#*…•–—0159 \n\t\r%$€°/=<>~^+_&@",
    " ", " ", " ", "\n", "\n\n", "\r\n", "...", "the", "and", "with", "word", "words", "Word.", "don't", "cannot",
    "5km", "Mr.", ":)", "8)", "U.S.", "e.g.", "http://a.co/x", "a@b.org", "\u00a0", "\u3000", "\x85", "\u2028", "\x00",
    "你", "好", "。", "ไทย", "ก็", "é", "e\u0301", "🙂", "ß", "İ", "\u212a", "１", "٣", "”", "’s", "--", "lorem ipsum",
    "javascript", "use cookies", "[1]", "[edit]",
])  # fmt: skip

TEXTS = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(codec="utf-8"), max_size=60),
    st.lists(_ATOMS, max_size=60).map("".join),
    st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab"]), max_size=60).map(" ".join),
    st.lists(st.sampled_from(["one line.", "two", "", " ", "- three…", "one line. "]), max_size=14).map("\n".join),
)
