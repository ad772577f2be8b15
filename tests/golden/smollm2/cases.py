# SPDX-License-Identifier: Apache-2.0
"""Strings for the tokenizer: what trips a byte-level BPE of our own."""

CASES = [
    # the strings of the first table of test vectors (made with llama.cpp)
    "The history of memory begins",
    " leading space",
    "a  b   c",
    "x=3.14159;",
    "don't I'll we've THEY'RE",
    "na\u00efve caf\u00e9 \u2014 \u201cquotes\u201d\u2026",
    "\U0001f642\U0001f642 emoji",
    "\u2177 \u00bd \u00b2",
    "",
    "\n",
    "  \n  ",
    "\u00dcn\u00efc\u00f6d\u00e9",
    "<|im_start|>user\nhi<|im_end|>\n",
    "\u0661\u0662\u0663 \u096a\u096b",
    # digits
    "0", "2026", " 2026", "  2026", "a1b22c333", "1,234,567.89", "-42", "1e-5",
    "v2.0.1-rc3", "\n7\n8", "\t9", "3\u00d74=12", "10\u20ac", "50% of 7/8",
    "x\u00b2+y\u00b3=z\u2074", "\u00bc\u00be\u2153", "\u2460\u2461\u3289",
    "\u06f1\u06f2\u06f3 \u0967\u0968\u0969 \u0e51\u0e52", "\uff11\uff12\uff13",
    "\u3007\u4e00\u4e8c", "\U0001d7d8\U0001d7d9", "12\u0301", "\u216b\u2188",
    # accents, composed and decomposed; combining marks are not letters
    "\u00c9t\u00e9 \u00e0 la plage, o\u00f9 \u00e7a?",
    "e\u0301te\u0301 n\u0303 a\u030a\u0323", "\u0301", " \u0301a",
    "Stra\u00dfe, \u0141\u00f3d\u017a, \u010cesk\u00fd, \u0130stanbul",
    "\u1e9e \u01c5 \ufb01 \u02b0 \u00aa\u00ba", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
    "\u041f\u0430\u043c\u044f\u0442\u044c", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627",
    "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    # CJK, Hangul composed and not
    "\u8bb0\u5fc6\u7684\u5386\u53f2", "\u8a18\u61b6\u306f\u3001\u77ed\u3044\u3002",
    "\uae30\uc5b5 \u1100\u1161\u11a8", "\u30ab\u30bf\u30ab\u30ca\u30fc",
    "\U00020000\U0002a6d6", "mixed\u6df7\u5408text42\u5b57",
    # emoji: ZWJ, skin, flags, keycap, variation selectors
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f44d\U0001f3fd ok", "\U0001f1eb\U0001f1ee\U0001f1f8\U0001f1ea",
    "1\ufe0f\u20e3", "\u2764\ufe0f\u200d\U0001f525!", "a\U0001f600b\U0001f600",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    # blanks
    " ", "  ", "   ", "       x", "x       ", "\t", "\t\t\tx", " \t x", "\t x",
    "\r\n", "a\r\nb\r\n", "\n\n\nx", "x\n\n\n", "x \n y", "x  \n\n  y", "\n x",
    "a \n", "\x0b\x0c", "a\u00a0b", "a \u00a0 b", "\u00a0\u00a0x", "\u00a0 1",
    "a\u0085b", "a\u1680b\u2003\u2003c\u3000d", "a\u2028b\u2029c\u202fd\u205fe",
    "zero\u200bwidth", "\ufeffbom", "a\u180eb", "  \u3000\u3000 x",
    " " * 40 + "deep", "\n" * 33, "\t" * 17 + "}", " 5", "  5", " \n5",
    # control characters; some bytes have no token and are dropped
    "a\x00b", "\x01\x02\x03", "a\x04b", "\x04", "a \x04 b", "\x06x\x13", "\x14\x16\x1d",
    "\x1b[31mred\x1b[0m", "\x1c\x1d\x1e\x1f", "\x7f\x80\x9f", "\x08\x07bell",
    "!\x04=", ".\x04.", "-\x1d-\x16-", "\x04\x04 x", " \x04x",
    "\U00040000", "a\U00040000b", "-\U00050000-", "\U000f0000\U0010fffd", "\ufffd",
    "\ufffe\uffff", "\ue000",
    # contractions, both cases, straight and curly
    "it's it'S IT'S", "I'm i'M", "can't CAN'T", "we'll WE'LL", "you'd YOU'D",
    "they've 'VE", "we're 'RE 're", "'tis 'twas 'sup", "o'clock rock'n'roll",
    "dogs' cats'", "''s '''t", "x's1's", "it\u2019s don\u2019t", "'s't're've'm'll'd",
    " 's", "  'll", "'s 't", "\u00e9's", "5's", "_'d",
    # special tokens, beside and inside text
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|im_start|><|im_end|>",
    "<|im_start|>assistant\n", "x<|im_end|>\n\ny", "<|im_start", "|im_end|>",
    "<|im_start|", "<<|im_end|>>", "<|IM_START|>", "<|im_end|>5<|im_end|> 5",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
    "Hugging Face<|im_end|>\n<|im_start|>user\nWhat is memory?<|im_end|>\n"
    "<|im_start|>assistant\n",
    "<repo_name>x<file_sep>", "<reponame>acme/mneme<file_sep>src/a.hpp\n",
    "<jupyter_start><jupyter_text>", "<empty_output>", "<|unk|>", "<s>hi</s>",
    "<|endoftext|><|endoftext|", "the <|im_end|>", "<|im_end|>the", " <|im_end|>  x",
    # long
    "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft",
    "pneumonoultramicroscopicsilicovolcanoconiosis", "a" * 100, "ab" * 64, "aA" * 30,
    "=" * 77, "-" * 80, "." * 5, "!?" * 9, "\u00e9" * 21, "the" * 20, "\U0001f642" * 9,
    # code and markup
    "for (int i = 0; i < n; ++i) { x[i] += w[i] * y[i]; }\n",
    "template <class M> concept Memory = HasStep<M>;",
    "def f(x):\n    return x**2  # square\n\n\nclass A:\n\tpass\n",
    "#include <vector>\n\nstd::vector<float>&& v;", "a->b::c.d[e](f)//g/*h*/",
    "if(x!=y&&!z||w){}", "https://example.org/a/b?c=d&e=%20f#g", "me@example.org",
    "C:\\path\\n\\t", "\"quoted\" 'single' `tick`", "$HOME ~/x *.cpp", "{{ x }} {% y %}",
    "<a href=\"x\">y</a>&nbsp;&amp;", "| a | b |\n|---|---|\n| 1 | 22 |\n", "# Title\n\n- x\n",
    "\\u00e9 \\x04", "camelCaseAndSNAKE_case_42_x", "0x1F600 0b1010 1_000", "SELECT * FROM t;",
    # the rest
    "\u201cWell,\u201d she said\u2014\u201cno.\u201d", "\u00ab La m\u00e9moire \u00bb", "\u00bfQu\u00e9? \u00a1S\u00ed!",
    "\u2200x\u2208\u211d: x\u00b2\u22650", "\u2190\u2191\u2192 \u2588\u2592 \u2713", "\u20ac5 \u00a36 \u00a57", "\u00b0C \u00b5m \u2126",
    "A.B.C. e.g. i.e.", "Hello, World!", " hello", "hello ", "HELLO", "\u0397ello",
    "\u00adsoft\u00adhyphen", "\u202ertl\u202c", "Zo\u00eb M\u00e1rquez-Lindqvist, \u00abclef\u00bb \u2026",
]
