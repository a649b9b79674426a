"""Network camera: a stream of JPEG images over HTTP, as phones and IP cameras send it."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serve_mjpeg(next_jpeg):
    """Serve a stream on a free port of this machine, and yield its URL.

    Args:
        next_jpeg: waits for the next image and returns its JPEG bytes; None ends the stream.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=image")
            self.end_headers()
            while (jpeg := next_jpeg()) is not None:
                head = f"--image\r\nContent-Length: {len(jpeg)}\r\nContent-Type: image/jpeg\r\n"
                try:
                    self.wfile.write(head.encode() + b"\r\n" + jpeg + b"\r\n")
                except ConnectionError:
                    return

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/stream.mjpg"
    finally:
        server.shutdown()
        server.server_close()
