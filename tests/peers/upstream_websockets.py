"""The Python library `websockets` as the server behind the proxy: sends every message back, compressed if the client
offers it. Prints its port. It refuses an upgrade that shows a credential, or that does not say who comes.
"""

import asyncio
import http

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


def judge(connection, request):
    """500 for an upgrade that no upstream should see, which the client is told as 502."""
    told = str(request.headers) + request.path
    who = request.headers.get_all("X-Auth-Subject")
    if "eyJ" in told or "authorization" in told.lower() or "access_token" in told or who != ["alice"]:
        return connection.respond(http.HTTPStatus.INTERNAL_SERVER_ERROR, "a credential, or nobody\n")
    return None


async def echo(socket):
    """Sends back what comes."""
    offered = "permessage-deflate" in socket.request.headers.get("Sec-WebSocket-Extensions", "")
    if offered and not socket.protocol.extensions:
        await socket.close(4998, "no compression")
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass  # However it ends, the client's side is what is checked.


async def main():
    """Serves until it is killed."""
    async with serve(echo, "127.0.0.1", 0, process_request=judge, subprotocols=["chat"], select_subprotocol=choose,
                     max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def choose(connection, offered):
    """`chat` if it is offered, otherwise none: by itself the library insists on one."""
    return "chat" if "chat" in offered else None


if __name__ == "__main__":
    asyncio.run(main())
