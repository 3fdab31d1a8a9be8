import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'
import { request } from 'undici'
import type { Scope } from './helpers.ts'

/** A person at the provider, as its tokens tell of them. */
export interface Person {
  readonly name: string
  readonly email: string
  readonly roles: readonly string[]
}

/** A real OpenID Connect provider (the npm package oidc-provider) with its own pages to log in. */
export interface RealProvider {
  readonly issuer: string
  readonly people: Map<string, Person>
  /** Lets the gateways at some origins send people. */
  know(...origins: string[]): void
  /** Sets what answers in its place; it returns false for what the provider answers itself. */
  answerFirst(hook: (request: IncomingMessage, response: ServerResponse) => boolean): void
  /** The requests it got so far, each as its method and path. */
  readonly asked: string[]
  stop(): Promise<void>
}

/** Starts a provider on a free port; it ends with the test. */
export async function provider(
  t: Scope,
  { client = {}, configuration = {} }: { client?: object; configuration?: object } = {}
): Promise<RealProvider> {
  let answer: RequestListener = (_request, response) => void response.writeHead(503).end()
  let first: (request: IncomingMessage, response: ServerResponse) => boolean = () => false
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url?.split('?', 1)[0]}`)
    if (!first(request, response)) answer(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const people = new Map<string, Person>([
    ['ada', { name: 'Ada Lovelace', email: 'ada@example.com', roles: ['staff'] }],
    ['bob', { name: 'Bob', email: 'bob@example.org', roles: [] }]
  ])
  const know = (...origins: string[]): void => {
    const made = new Provider(issuer, {
      clients: [
        {
          client_id: 'gateway',
          client_secret: 'a secret of the client',
          redirect_uris: origins.map((origin) => `${origin}/login/callback`),
          post_logout_redirect_uris: origins.map((origin) => `${origin}/`),
          backchannel_logout_uri: `${origins[0]}/login/callback`,
          backchannel_logout_session_required: true,
          grant_types: ['authorization_code', 'refresh_token'],
          token_endpoint_auth_method: 'client_secret_basic',
          ...client
        }
      ],
      claims: { openid: ['sub'], email: ['email'], profile: ['name', 'realm_access'] },
      features: { backchannelLogout: { enabled: true } },
      cookies: { keys: ['a key of the provider'] },
      // Its own one refuses to speak to this machine, where the gateway is.
      fetch: (url: string, { dispatcher: _none, ...init }: RequestInit & { dispatcher?: unknown }) =>
        fetch(url, init),
      issueRefreshToken: async () => true,
      findAccount: async (_context: unknown, id: string) => {
        const person = people.get(id)
        if (person === undefined) return undefined
        const { name, email, roles } = person
        return { accountId: id, claims: async () => ({ sub: id, name, email, realm_access: { roles } }) }
      },
      ttl: {
        AccessToken: 60,
        RefreshToken: 86_400,
        IdToken: 3600,
        Session: 86_400,
        Grant: 86_400,
        Interaction: 600
      },
      ...configuration
    } as never)
    answer = made.callback()
  }
  const stop = async (): Promise<void> => {
    server.closeAllConnections()
    if (!server.listening) return
    server.close()
    await once(server, 'close')
  }
  t.teardown(stop)
  const answerFirst: RealProvider['answerFirst'] = (hook) => {
    first = hook
  }
  return { issuer, people, know, answerFirst, asked, stop }
}

/** What came of a walk through pages. */
export interface Page {
  readonly url: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

/** A browser without a window: it keeps cookies, and goes where it is sent, as far as it is let. */
export class Visitor {
  readonly #jars = new Map<string, Map<string, { value: string; path: string }>>()
  /** The addresses it went through. */
  readonly trail: string[] = []

  /** Opens a page as a navigation does, and follows redirects until `stop` returns true or there is no further one. */
  async open(
    url: string,
    { form, stop = () => false }: { form?: Record<string, string>; stop?: (url: string) => boolean } = {}
  ): Promise<Page> {
    let here = new URL(url)
    let body = form === undefined ? undefined : new URLSearchParams(form).toString()
    for (;;) {
      this.trail.push(here.href)
      const {
        statusCode,
        headers,
        body: answer
      } = await request(here, {
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          accept: 'text/html,*/*',
          'sec-fetch-mode': 'navigate',
          'sec-fetch-site': body === undefined ? 'none' : 'same-origin',
          cookie: this.#cookies(here),
          ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' })
        },
        ...(body === undefined ? {} : { body })
      })
      this.#keep(here, headers['set-cookie'])
      const text = await answer.text()
      const { location } = headers
      if (typeof location !== 'string') return { url: here.href, status: statusCode, headers, text }
      const next = new URL(location, here)
      if (stop(next.href)) return { url: next.href, status: statusCode, headers, text }
      here = next
      body = undefined
    }
  }

  /** Logs in as a user through the provider's pages. */
  async logInAs(person: string, url: string, stop?: (url: string) => boolean): Promise<Page> {
    let page = await this.open(url, stop === undefined ? {} : { stop })
    while (page.text.includes('/interaction/') && page.url.includes('/interaction/')) {
      const action = /action="([^"]+)"/.exec(page.text)?.[1] ?? ''
      const form: Record<string, string> = page.text.includes('name="login"')
        ? { prompt: 'login', login: person, password: 'any' }
        : { prompt: 'consent' }
      page = await this.open(new URL(action, page.url).href, stop === undefined ? { form } : { form, stop })
    }
    return page
  }

  /** Loses the cookies of an origin. */
  forget(origin: string): void {
    this.#jars.delete(origin)
  }

  /** Reads the cookies it would send. */
  cookiesFor(url: string): string {
    return this.#cookies(new URL(url))
  }

  #cookies({ origin, pathname }: URL): string {
    return [...(this.#jars.get(origin) ?? [])]
      .filter(
        ([, { path }]) => pathname === path || pathname.startsWith(path.endsWith('/') ? path : `${path}/`)
      )
      .map(([name, { value }]) => `${name}=${value}`)
      .join('; ')
  }

  #keep({ origin }: URL, said: string | string[] | undefined): void {
    const jar = this.#jars.get(origin) ?? new Map<string, { value: string; path: string }>()
    this.#jars.set(origin, jar)
    for (const line of [said ?? []].flat()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      const expires = /expires=([^;]+)/i.exec(line)?.[1]
      const path = /path=([^;]+)/i.exec(line)?.[1] ?? '/'
      if (value === '' || (expires !== undefined && Date.parse(expires) < Date.now())) jar.delete(name)
      else jar.set(name, { value, path })
    }
  }
}
