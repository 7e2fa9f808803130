// A receiver of webhooks on loopback: `next()` waits for a request, and returns its headers and body.
import { createServer } from "node:http";

export async function receiver() {
  const arrived = [];
  let wake = () => {};
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    arrived.push({ headers: request.headers, body });
    response.writeHead(204).end();
    wake();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/hook`,
    async next() {
      while (!arrived.length) await new Promise((resolve) => (wake = resolve));
      return arrived.shift();
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
