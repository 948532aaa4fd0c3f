"""A small endpoint that speaks OpenAI's protocol, and can be told to misbehave."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(text, prompt_tokens=10, completion_tokens=2):
    """An answer as the protocol has it."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    return {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}


@contextmanager
def chat_server(answers):
    """Yields `(url, requests)`.

    Args:
        answers: from the request's body, a dictionary, to an answer: a dictionary (JSON, 200), bytes (200), or
            `(code, headers, body)`; or a number of seconds to wait, then a byte, forever.
    """
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
            given = answers(body)
            if isinstance(given, float):
                return self.drip(given)
            code, headers, content = given if isinstance(given, tuple) else (200, {}, given)
            content = json.dumps(content).encode() if isinstance(content, dict) else content
            self.send_response(code)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            requests.append({"path": self.path, "headers": dict(self.headers), "body": None})
            self.send_error(404)

        def drip(self, seconds):
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(200):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(seconds)
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()
