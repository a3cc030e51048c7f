"""The commands `tamis train ...`; what they need is imported when they run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tamis.jobs.cli.options import AsJson, Quiet, Set, Workers, examples, group

__all__ = ["train_app"]

train_app = group(about="Fit the models that steps use.")

ModelFolder = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The model's folder.")]
TextField = Annotated[str, typer.Option(metavar="FIELD", help="The text field.")]


@train_app.command(
    "dsir",
    short_help="Fit DSIR's ratio of target to raw pool.",
    epilog=examples("tamis train dsir --raw 'pool/*.jsonl' --target good.jsonl -o models/dsir"),
)
def dsir_command(
    raw: Annotated[list[str], typer.Option("--raw", metavar="FILES", help="Files of the raw pool; repeatable.")],
    target: Annotated[
        list[str],
        typer.Option("--target", metavar="FILES", help="Files of the target, or name=files; repeatable."),
    ],
    output: ModelFolder,
    text: Annotated[str, typer.Option(metavar="FIELD", help="The pool's text field.")] = "text",
    target_text: Annotated[str, typer.Option(metavar="FIELD", help="The targets' text field.")] = "text",
    ngrams: Annotated[int, typer.Option(min=1, max=16, metavar="N", help="The longest n-grams.")] = 2,
    buckets: Annotated[int, typer.Option(min=1, metavar="N", help="Buckets that n-grams are hashed to.")] = 10_000,
    hash_: Annotated[str, typer.Option("--hash", metavar="NAME", help="fast or sha256.")] = "fast",
    tokens: Annotated[str, typer.Option(metavar="NAME", help="wordpunct, words, or a tokenizer's file.")] = "wordpunct",
    smoothing: Annotated[float, typer.Option(min=0, metavar="X", help="Pseudo-count of the targets.")] = 0.0,
    max_ngrams: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N-grams to fit each side on; all if absent.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit DSIR's ratio of target to raw pool, for `dsir: {model: FOLDER}`."""
    from tamis.jobs.cli.train_output import dsir

    dsir(
        raw,
        target,
        output,
        text=text,
        target_text=target_text,
        ngrams=ngrams,
        buckets=buckets,
        hash_=hash_,
        tokens=tokens,
        smoothing=smoothing,
        max_ngrams=max_ngrams,
        as_json=as_json,
        quiet=quiet,
    )


@train_app.command(
    "lm",
    short_help="Train an n-gram model of good or of harmful text.",
    epilog=examples(
        "tamis train lm wikipedia.jsonl.zst -o models/quality",
        "tamis train lm web.jsonl --harmful --url-list ut1/adult -o models/harmful",
        "tamis train lm web.jsonl --harmful --label bad --contrast -o models/harmful",
    ),
)
def lm_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Training documents: files, folders or globs.")],
    output: ModelFolder,
    text: TextField = "text",
    order: Annotated[
        int | None,
        typer.Option(min=1, max=6, metavar="N", help="The longest n-grams; 5, with --contrast 3 if absent."),
    ] = None,
    normalizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="ccnet, ccnet-blanks, none, ...; ccnet if absent.")
    ] = None,
    mode: Annotated[str | None, typer.Option(metavar="NAME", help="ccnet, oscar or kenlm: how scoring counts.")] = None,
    policy: Annotated[
        str | None, typer.Option(metavar="NAME", help="document, lines or nonblank_lines: what a sentence is.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A SentencePiece model whose pieces are the words.")
    ] = None,
    pieces: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Train such a model; with --contrast 2,000, or 0 for words.")
    ] = None,
    lmplz: Annotated[bool | None, typer.Option("--lmplz/--no-lmplz", help="Estimate with KenLM's lmplz.")] = None,
    keep_arpa: Annotated[bool, typer.Option("--arpa/--no-arpa", help="Keep the ARPA file too.")] = True,
    percentiles: Annotated[
        list[str] | None,
        typer.Option(metavar="FILES", help="Documents whose percentiles the model keeps, for buckets; repeatable."),
    ] = None,
    language_field: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Their language, for percentiles of each language.")
    ] = None,
    source_field: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Their source, for percentiles of each source.")
    ] = None,
    harmful: Annotated[bool, typer.Option("--harmful", help="A model of harmful text, with a threshold.")] = False,
    label: Annotated[
        str | None, typer.Option(metavar="FIELD", help="With --harmful: says which documents are harmful.")
    ] = None,
    url_list: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="With --harmful: a UT1 category (domains, urls).")
    ] = None,
    group_field: Annotated[
        str | None,
        typer.Option("--group", metavar="FIELD", help="With --harmful: documents that stay together; else hosts."),
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="With --harmful: of groups, for the threshold.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="With --harmful: of groups, for the figures.")
    ] = 0.2,
    splits: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --harmful: the groups of train, validation and test, as YAML."),
    ] = None,
    contrast: Annotated[
        bool,
        typer.Option("--contrast", help="With --harmful: the ratio to clean text, which tells more."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="With --harmful: draws the split of groups.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train an n-gram model (KenLM's) of good or of harmful text, for `perplexity: {model: FOLDER}`."""
    from tamis.jobs.cli.train_output import lm

    split: dict[str, Any] = {"group": group_field, "validation": validation, "test": test, "seed": seed}
    split |= {"splits": splits, "contrast": contrast}
    lm(
        files,
        output,
        text=text,
        order=order,
        quality={"normalizer": normalizer, "mode": mode, "policy": policy, "tokenizer": tokenizer, "pieces": pieces},
        harmful={"label": label, "url_list": url_list, **split} if harmful else None,
        use_lmplz=lmplz,
        keep_arpa=keep_arpa,
        percentiles=percentiles or (),
        language_field=language_field,
        source_field=source_field,
        as_json=as_json,
        quiet=quiet,
    )


@train_app.command(
    "preselect",
    short_help="Train PreSelect's classifier from models' losses.",
    epilog=examples("tamis train preselect examples/preselect/train.yaml -o models/preselect"),
)
def preselect_command(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="What to measure and train, a YAML file.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FOLDER", help="The model's folder; overrides output.")
    ] = None,
    set_: Set = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Forget what earlier calls measured.")] = False,
    workers: Workers = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure language models on documents, and train the classifier of those that tell good models from bad."""
    from tamis.jobs.cli.train_output import preselect

    preselect(config, set_ or (), output, workers=workers, fresh=fresh, as_json=as_json, quiet=quiet)


@train_app.command(
    "rules",
    short_help="Fit a language's rules to clean text.",
    epilog=examples(
        "tamis train rules wiki.jsonl --language gsw_Latn -o rules/gsw_Latn.yml",
        "tamis train rules wiki.jsonl --language de --pool web.jsonl -o deu.yml",
    ),
)
def rules_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Clean text: files, folders or globs.")],
    language: Annotated[str, typer.Option(metavar="LABEL", help="Its language, such as de or deu_Latn.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The rules, a .yml or .json file.")],
    english: Annotated[
        list[str] | None, typer.Option(metavar="FILES", help="English text of the same kind; repeatable.")
    ] = None,
    pool: Annotated[
        list[str] | None, typer.Option(metavar="FILES", help="What the rules are for, to report on; repeatable.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="[KEY=]NAME", help="english, meanstd, quantile, tail or ratio; repeatable."),
    ] = None,
    tail: Annotated[
        float, typer.Option(min=0, max=0.5, metavar="SHARE", help="Of the clean text, beyond thresholds by tail.")
    ] = 0.1,
    stop_word_share: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Of all words, that a stop word makes up.")
    ] = 0.008,
    least_stop_words: Annotated[int, typer.Option(min=2, metavar="N", help="Stop words, at least.")] = 8,
    splitter: Annotated[str, typer.Option(metavar="NAME", help="fast or spacy, as of heuristics.")] = "fast",
    language_model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For language_score; lid.176 if absent.")
    ] = None,
    text: TextField = "text",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit thresholds and stop words of a language or domain to clean text, for `heuristics: {rules: FILE}`."""
    from tamis.jobs.cli.train_output import rules

    rules(
        files,
        output,
        language=language,
        english=english or (),
        pool=pool or (),
        method=method or (),
        tail=tail,
        stop_word_share=stop_word_share,
        least_stop_words=least_stop_words,
        splitter=splitter,
        model=language_model,
        text=text,
        as_json=as_json,
        quiet=quiet,
    )


@train_app.command(
    "proxy",
    short_help="Train a small language model of the pool, for quad.",
    epilog=examples("tamis train proxy 'pool/*.jsonl' -o models/proxy", "tamis train proxy a.parquet -o p --steps 300"),
)
def proxy_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Documents of the pool: files, folders or globs.")],
    output: ModelFolder,
    text: TextField = "text",
    documents: Annotated[int, typer.Option(min=1, metavar="N", help="Documents that are drawn for it.")] = 10_000,
    dimensions: Annotated[int, typer.Option(min=2, metavar="N", help="Width of the model.")] = 128,
    layers: Annotated[int, typer.Option(min=1, metavar="N", help="Of the model.")] = 2,
    heads: Annotated[int, typer.Option(min=1, metavar="N", help="Of attention.")] = 4,
    context: Annotated[int, typer.Option(min=2, metavar="N", help="Tokens in a row.")] = 128,
    vocabulary: Annotated[int, typer.Option(min=257, metavar="N", help="Tokens; 257 are the bytes.")] = 2048,
    steps: Annotated[int, typer.Option(min=0, metavar="N", help="Of the optimiser.")] = 600,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Rows in a step.")] = 16,
    rate: Annotated[float, typer.Option(metavar="X", help="Highest learning rate.")] = 5e-3,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Draws documents and first weights.")] = 0,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Of the CPU.")] = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a small causal language model of the pool, for `quad: {proxy: FOLDER}`: minutes on a CPU."""
    from tamis.jobs.cli.train_output import proxy

    model: dict[str, Any] = {"dimensions": dimensions, "layers": layers, "heads": heads, "context": context}
    model |= {"vocabulary": vocabulary, "steps": steps, "batch": batch, "rate": rate, "seed": seed}
    proxy(files, output, model, text=text, most=documents, threads=threads, as_json=as_json, quiet=quiet)
