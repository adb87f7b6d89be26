"""Where notices of tests get to: a mail server, and a webhook that answers as a test wants, on the loopback."""

import socket
import threading
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import loads

from aiosmtpd.controller import Controller

HOST = "127.0.0.1"
PATH = "/services/example-secret-path"


class WebhookSink:
    """Keeps what it was sent. `answer`: the status and headers of its answers; None: it hangs."""

    def __init__(self):
        self.taken, self.paths = [], []
        self.answer = 200, {}
        self.over = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.paths.append(self.path)
                sink.taken.append(loads(body)["text"])
                if sink.answer is None:
                    sink.over.wait(30)
                    return
                status, headers = sink.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://{HOST}:{self.server.server_port}{PATH}"

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class MailSink:
    """Keeps the mails that it took; `refuses`: it takes none; `tls`: the context of one that speaks TLS at once."""

    def __init__(self, tls=None):
        self.mails = []
        self.refuses = False
        # The controller connects to its own port, which it has to know.
        with socket.create_server((HOST, 0)) as free:
            self.port = free.getsockname()[1]
        self.controller = Controller(self, hostname=HOST, port=self.port, ssl_context=tls)
        self.controller.start()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  # aiosmtpd's name
        if self.refuses:
            return "554 example-words-of-the-server"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append((envelope.rcpt_tos, mail))
        return "250 OK"

    @property
    def subjects(self):
        return [mail["Subject"] for _, mail in self.mails]

    def close(self):
        self.controller.stop()


@contextmanager
def opened(sink):
    try:
        yield sink
    finally:
        sink.close()
