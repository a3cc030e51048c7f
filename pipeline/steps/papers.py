"""The papers that steps follow."""

from tamis.schemas.paper import Paper

__all__ = [
    "C4",
    "CCNET",
    "DSIR",
    "FASTTEXT",
    "FINEWEB",
    "FINEWEB_2",
    "GOPHER",
    "HARMFUL",
    "KENLM",
    "LID",
    "MADLAD",
    "MINHASH",
    "NGRAM_OVERLAP",
    "PRESELECT",
    "QUAD",
    "RESILIPARSE",
    "SOFT_DEDUP",
    "SUBSTRINGS",
    "TRAFILATURA",
]

C4 = Paper(
    ("Colin Raffel", "Noam Shazeer", "Adam Roberts", "Katherine Lee", "others"),
    "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
    2020,
    "https://arxiv.org/abs/1910.10683",
)
CCNET = Paper(
    ("Guillaume Wenzek", "Marie-Anne Lachaux", "Alexis Conneau", "Vishrav Chaudhary", "others"),
    "CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data",
    2020,
    "https://arxiv.org/abs/1911.00359",
)
DSIR = Paper(
    ("Sang Michael Xie", "Shibani Santurkar", "Tengyu Ma", "Percy Liang"),
    "Data Selection for Language Models via Importance Resampling",
    2023,
    "https://arxiv.org/abs/2302.03169",
)
FASTTEXT = Paper(
    ("Armand Joulin", "Edouard Grave", "Piotr Bojanowski", "Tomas Mikolov"),
    "Bag of Tricks for Efficient Text Classification",
    2017,
    "https://arxiv.org/abs/1607.01759",
)
FINEWEB = Paper(
    ("Guilherme Penedo", "Hynek Kydlíček", "Loubna Ben Allal", "Anton Lozhkov", "others"),
    "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale",
    2024,
    "https://arxiv.org/abs/2406.17557",
)
FINEWEB_2 = Paper(
    ("Guilherme Penedo", "Hynek Kydlíček", "Vinko Sabolčec", "Bettina Messmer", "others"),
    "FineWeb2: One Pipeline to Scale Them All -- Adapting Pre-Training Data Processing to Every Language",
    2025,
    "https://arxiv.org/abs/2506.20920",
)
GOPHER = Paper(
    ("Jack W. Rae", "Sebastian Borgeaud", "Trevor Cai", "Katie Millican", "others"),
    "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
    2021,
    "https://arxiv.org/abs/2112.11446",
)
HARMFUL = Paper(
    ("Tim Jansen", "Yangling Tong", "Victoria Zevallos", "Pedro Ortiz Suarez"),
    "Perplexed by Quality: A Perplexity-based Method for Adult and Harmful Content Detection in Multilingual "
    "Heterogeneous Web Data",
    2022,
    "https://arxiv.org/abs/2212.10440",
)
KENLM = Paper(
    ("Kenneth Heafield",),
    "KenLM: Faster and Smaller Language Model Queries",
    2011,
    "https://aclanthology.org/W11-2123",
)
LID = Paper(
    ("Armand Joulin", "Edouard Grave", "Piotr Bojanowski", "Matthijs Douze", "Hervé Jégou", "Tomas Mikolov"),
    "FastText.zip: Compressing text classification models",
    2016,
    "https://arxiv.org/abs/1612.03651",
)
MADLAD = Paper(
    ("Sneha Kudugunta", "Isaac Caswell", "Biao Zhang", "Xavier Garcia", "others"),
    "MADLAD-400: A Multilingual And Document-Level Large Audited Dataset",
    2023,
    "https://arxiv.org/abs/2309.04662",
)
MINHASH = Paper(
    ("Andrei Z. Broder",),
    "On the resemblance and containment of documents",
    1997,
    "https://doi.org/10.1109/SEQUEN.1997.666900",
)
NGRAM_OVERLAP = Paper(
    ("Tom B. Brown", "Benjamin Mann", "Nick Ryder", "Melanie Subbiah", "others"),
    "Language Models are Few-Shot Learners",
    2020,
    "https://arxiv.org/abs/2005.14165",
)
PRESELECT = Paper(
    ("Kashun Shum", "Yuzhen Huang", "Hongjian Zou", "Qi Ding", "others"),
    "Predictive Data Selection: The Data That Predicts Is the Data That Teaches",
    2025,
    "https://arxiv.org/abs/2503.00808",
)
QUAD = Paper(
    ("Chi Zhang", "Huaping Zhong", "Kuan Zhang", "Chengliang Chai", "others"),
    "Harnessing Diversity for Important Data Selection in Pretraining Large Language Models",
    2025,
    "https://arxiv.org/abs/2409.16986",
)
RESILIPARSE = Paper(
    ("Janek Bevendorff", "Benno Stein", "Matthias Hagen", "Martin Potthast"),
    "Elastic ChatNoir: Search Engine for the ClueWeb and the Common Crawl",
    2018,
    "https://doi.org/10.1007/978-3-319-76941-7_83",
)
SOFT_DEDUP = Paper(
    ("Nan He", "Weichen Xiong", "Hanwen Liu", "Yi Liao", "others"),
    "SoftDedup: an Efficient Data Reweighting Method for Speeding Up Language Model Pre-training",
    2024,
    "https://arxiv.org/abs/2407.06654",
)
SUBSTRINGS = Paper(
    ("Katherine Lee", "Daphne Ippolito", "Andrew Nystrom", "Chiyuan Zhang", "others"),
    "Deduplicating Training Data Makes Language Models Better",
    2022,
    "https://arxiv.org/abs/2107.06499",
)
TRAFILATURA = Paper(
    ("Adrien Barbaresi",),
    "Trafilatura: A Web Scraping Library and Command-Line Tool for Text Discovery and Extraction",
    2021,
    "https://aclanthology.org/2021.acl-demo.15",
)
