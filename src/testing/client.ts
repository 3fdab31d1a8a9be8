import { Agent, type RequestInit as UndiciInit, fetch as undiciFetch } from 'undici'
import { atEnd, type TestScope } from './scope.ts'

/** Sends a request to a path of a gateway; redirects are not followed. */
export type Fetch = (path: string, init?: RequestInit) => Promise<Response>

/** Returns a client of an origin over HTTP/1.1, or over HTTP/2 alone; it closes at the end of a test. */
export function openClient(
  t: TestScope,
  origin: string,
  ca: string | undefined,
  version: '1.1' | '2'
): Fetch {
  const agent = new Agent(
    version === '2'
      ? { allowH2: true, connect: { ca: ca ?? '', ALPNProtocols: ['h2'] } }
      : { allowH2: false, connect: ca === undefined ? {} : { ca } }
  )
  atEnd(t, () => agent.destroy())
  return async (path, init = {}) =>
    // The same fetch as the global one, of which Node.js has a copy with types of its own.
    (await undiciFetch(new URL(path, origin), {
      redirect: 'manual',
      ...(init as unknown as UndiciInit),
      dispatcher: agent
    })) as unknown as Response
}
