"""Elements of a page that are no text of it, by the names that their classes and ids have."""

__all__ = ["SKIPPED"]

# Parts of the names that sites and content systems give to what stands around a text, or in it without being of it.
# Words that also name what holds a text are left out, for all that they name: `ad-` (`read-`, `head-`), `comment` (of
# code), `hidden` (`hidden-xs`), `more-`, `nav-`, `search`, `source` (`sourceCode`), `video`, `widget` (a blog is one).
_WORDS = [
    *["about-author", "author-bio", "author-box", "author-description", "author-info", "author_box", "authorbox"],
    *["byline", "dateline", "datetime", "timestamp"],
    *["cat-links", "entry-category", "post-category", "-meta", "_meta", "tag-list", "taglist"],
    *["breadcrumb", "footer", "foot-", "pager", "pagination", "sidebar"],
    *["comment-count", "commentcount", "comments-link", "disqus"],
    *["caption", "carousel", "credit", "gallery", "playlist", "slideshow"],
    *["advert", "outbrain", "paywall", "promo", "sponsor", "taboola"],
    *["newsletter", "sign-up", "signup"],
    *["cookie", "consent", "copyright", "disclaim", "gdpr", "imprint"],
    *["recommend", "related", "similar-posts", "teaser", "trending"],
    *["feedback", "no-print", "noprint", "sharing", "social", "toolbar", "-tools"],
    *["loading", "screen-reader", "sr-only", "visually-hidden"],
]
# What may hold a page's text itself has names for other reasons: WordPress gives a post's element one for each of its
# categories, and `has-sidebar` is a body's.
_NOT = ':not(html):not(body):not(main):not(article):not([class*="hentry"]):not([class*="category-"])'
_EXACT = ('[class~="cta" i]', '[class^="cta-" i]', '[class~="meta" i]')

SKIPPED = [
    *[f'[{name}*="{word}" i]{_NOT}' for name in ("class", "id") for word in _WORDS],
    *[f"{selector}{_NOT}" for selector in _EXACT],
]
"""CSS selectors of elements that are left out of a page's main content."""
