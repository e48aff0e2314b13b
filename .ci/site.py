"""The built site in a real browser: what its search finds first, and pictures of its pages.

    mkdocs build -d site && python .ci/site.py site     the searches
    python .ci/site.py site --pictures DIR     and pages, at the width of a desk and a phone

Needs chromium on the path.  Ends with 1 where a search finds another page first.
"""

from __future__ import annotations

import argparse
import functools
import html
import http.server
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote_plus

SEARCHES = {
    "own environment": "tutorials/environment/",
    "free nats": "tutorials/objective/",
    "resume": "runs/",
    "LeRobot": "data/",
    "train ratio": "tutorials/replay/",
    "KullbackLeibler": "reference/losses/",
    "pyro": "tutorials/from_pyro/",
    "limits.yaml": "robots/",
}
"""What is typed -> the page that has to come first."""
PAGES = (
    "", "tutorials/equation/", "tutorials/environment/", "tutorials/log/", "gallery/",
    "performance/", "settings/", "reference/losses/", "mistakes/", "claims/",
)  # fmt: skip
SIZES = {"desk": (1280, 1600), "phone": (390, 1600)}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
SECONDS = 15.0
"""How long a search may take."""
RESULT = re.compile(r'<a href="([^"]+)" class="md-search-result__link"')


class Server(http.server.SimpleHTTPRequestHandler):
    """A server of files that says nothing, and lets a page that searches wait.

    The search runs in a worker, whose time goes on while a browser's virtual time is already over.
    So such a page has one picture more, which comes after SECONDS: until then it is not loaded.
    """

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """A file; the late picture; a page with it."""
        if self.path == "/late":
            time.sleep(SECONDS)
            self.send_error(404)
        elif self.path.startswith("/?q="):
            page = (Path(self.directory) / "index.html").read_bytes()
            page = page.replace(b"</body>", b'<img src="/late" alt=""></body>')
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
        else:
            super().do_GET()


def browse(url: str, *more: str) -> str:
    """What a browser has of a page when it is loaded."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("this needs chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        command = [program, *FLAGS, f"--user-data-dir={profile}"]
        done = subprocess.run(
            [*command, *more, url], capture_output=True, text=True, timeout=300, check=False
        )
    return done.stdout


def found(address: str, query: str) -> list[str]:
    """The pages that a search lists, best first."""
    text = browse(f"{address}/?q={quote_plus(query)}", "--dump-dom")
    links = [html.unescape(link) for link in RESULT.findall(text)]
    return list(dict.fromkeys(link.split("?")[0].split("#")[0] for link in links))


def main() -> int:
    """Search, and take pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--no-searches", action="store_true")
    given = parser.parse_args()
    handler = functools.partial(Server, directory=str(given.site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, wrong = f"http://127.0.0.1:{server.server_address[1]}", 0
    for query, page in {} if given.no_searches else SEARCHES.items():
        pages = [link.removeprefix(address).lstrip("./") for link in found(address, query)]
        right = bool(pages) and pages[0] == page
        wrong += not right
        print(f"{'ok' if right else 'WRONG'}: {query!r} finds {pages[:4]}", flush=True)
    if given.pictures is not None:
        given.pictures.mkdir(parents=True, exist_ok=True)
        for page in PAGES:
            for name, (width, height) in SIZES.items():
                path = given.pictures / f"{page.strip('/').replace('/', '-') or 'index'}-{name}.png"
                browse(
                    f"{address}/{page}",
                    f"--screenshot={path}",
                    f"--window-size={width},{height}",
                    "--virtual-time-budget=20000",
                )
    server.shutdown()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
