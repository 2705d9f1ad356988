"""The web page: plain HTML documents and ES modules around the HTTP API, without a build step.

Owns ``pages`` (which there are), ``routes`` (how they are served, and under which security policy), ``templates`` and
``files`` (modules and one style sheet, at ``web/``). Knows nothing of features: every page asks the API for what it
shows, as any client does. To add a page: put ``templates/NAME.html`` (extends base.html) and ``files/NAME.js`` beside
the others, and a line into ``pages``.

- Every page lies at one level ("/", "/search", "/feature?name=..."), and every URL in it is relative, so that it works
  behind any prefix of a proxy. What a page shows stands in its query, so that its address can be shared.
- Text of features, chats and contexts enters a document as text nodes alone (``dom.h``), never as HTML. The policy
  allows no inline script or style, no eval, and no other host. Sizes of bars are set through the style's properties.
- Keys live in the tab's sessionStorage; pages and files hold no data and need none.
- Plots are SVG of our own (``plot``), each with a table behind it that anybody can read: plotly's bundle, which would
  draw the same few kinds, weighs 5 MB.
- Colours: Okabe and Ito's for kinds and states, each with a sign besides; cividis for amounts; blue to orange around 0.

Modules in ``files``, in reading order:

    dom        builds elements; ``pageUrl`` and ``link`` to pages, the query of this one
    api        asks the API: errors with what to do, keys asked for once, streams read event by event
    format     numbers as people read them
    elements   state badge, bars, feature row, tokens as a heat map, notices, copy buttons, waits
    plot       histogram, curves, bars, parts of a whole, scatter; cividis
    theme      light and dark; ``shell`` is every page's frame
    shaded     a text by activations; ``tryout`` reads one while one types; ``relabel`` gives a label
    steering   what is set, to a request's keys and a page's query and back; ``model`` is what is served
    answer     an answer as it comes, its report; ``tokens`` shows it word by word; ``chat`` has turns of two
    picker     one feature, searched as you type; ``knob`` is an edit's slider; ``snippets`` writes programs
    map        every feature's place in its dictionary, on a canvas
    search     the page of that name, and so on; only these know a page's document
"""
