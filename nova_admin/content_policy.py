"""Names what a page may load, run and send to. Whoever gets text into a page gets no script to run with it.

django-csp sends it with every answer. Each exception has its reason beside it, and docs/production.md lists them.
"""

from csp.constants import NONCE, NONE, SELF, UNSAFE_INLINE, Nonce

CONTENT_SECURITY_POLICY: dict[str, dict[str, list[str | Nonce]]] = {
    "DIRECTIVES": {
        "default-src": [NONE],
        # Static files alone: no <script> with text in it, no onclick, no text that becomes a script. Unfold's menus are
        # Alpine's, which makes scripts of attributes; its build for policies (static/vendor/alpinejs-csp) parses them.
        "script-src": [SELF],
        # An exception: a <style> with the colours of UNFOLD["COLORS"] stands in each page. It has the answer's nonce.
        "style-src-elem": [SELF, NONCE],
        # An exception: bars of progress and some of Unfold's and Django's widgets have sizes in `style`. It styles its
        # own element alone. Rules of a <style> could tell what is in a field, letter by letter; they need the nonce.
        "style-src-attr": [UNSAFE_INLINE],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],  # what htmx asks for
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
