import type { FastifyReply } from 'fastify'
import type { Caller } from '../../src/lib/caller.ts'
import { escapeHtml } from '../../src/lib/html.ts'
import { cardPage, FORM_POLICY, factsHtml } from '../../src/lib/http/card-page.ts'
import { HTML } from '../../src/lib/http/page.ts'

/** Sets the headers of a page, and returns it. */
export function withPageHeaders(reply: FastifyReply, page: string): string {
  reply.type(HTML).headers({ 'cache-control': 'no-store', 'content-security-policy': FORM_POLICY })
  return page
}

/** The parameter of the login path that shows the page after a logout. */
export const LOGGED_OUT = 'logged_out'

/** The paths that the pages use. */
export interface Paths {
  readonly login: string
  readonly logout: string
  /** Where to go after the login; undefined for the page that shows who is logged in. */
  readonly returnTo: string | undefined
}

/** A login that failed. */
export interface FailedLogin {
  readonly message: string
  /** The username to keep. */
  readonly name: string
}

/** Returns the HTML of the login page, which needs no script; `provider` is whether users can log in at an OpenID Connect provider as well. */
export function loginPage(
  { login, returnTo }: Paths,
  { provider, failed }: { readonly provider: boolean; readonly failed: FailedLogin | undefined }
): string {
  // A screen reader may pass over an alert that is there from the start, but reads what describes the focused field.
  const state = failed === undefined ? '' : ' aria-invalid="true" aria-describedby="wrong"'
  const [nameFocus, passwordFocus] = failed === undefined ? [' autofocus', ''] : ['', ' autofocus']
  const form = `<h1>Log in</h1>
${failed === undefined ? '' : `<p role="alert" id="wrong">${escapeHtml(failed.message)}.</p>\n`}<form method="post" action="${escapeHtml(login)}">
${returnTo === undefined ? '' : `<input type="hidden" name="return_to" value="${escapeHtml(returnTo)}">\n`}<label for="username">Name</label>
<input id="username" name="username" value="${escapeHtml(failed?.name ?? '')}" dir="auto" autocomplete="username" autocapitalize="none" spellcheck="false" required${nameFocus}${state}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required${passwordFocus}${state}>
<button>Log in</button>
</form>`
  const atProvider = provider
    ? `\n<p><a href="${escapeHtml(providerLogin(login, returnTo))}">Log in with your organisation</a></p>`
    : ''
  return cardPage(failed === undefined ? 'Log in' : 'Error: Log in', form + atProvider)
}

const providerLogin = (login: string, returnTo: string | undefined): string =>
  `${login}?with=provider${returnTo === undefined ? '' : `&return_to=${encodeURIComponent(returnTo)}`}`

const bdi = (text: string): string => `<bdi>${escapeHtml(text)}</bdi>`

/** Returns the HTML of the page that shows who is logged in. */
export function userPage(
  { login, logout, returnTo }: Paths,
  { id, name = id, email, roles }: Caller
): string {
  const facts: [name: string, value: string][] = [
    ...(email === undefined ? [] : [['Email', bdi(email)] as [string, string]]),
    ['Roles', roles.length === 0 ? 'none' : roles.map(bdi).join(', ')]
  ]
  const goOn =
    returnTo === undefined || returnTo === login
      ? ''
      : `<p><a href="${escapeHtml(returnTo)}">Go on to ${bdi(returnTo)}</a></p>\n`
  return cardPage(
    'Logged in',
    `<h1>Hello, ${bdi(name)}</h1>
<p>You are logged in.</p>
${goOn}${factsHtml(facts)}
<form method="post" action="${escapeHtml(logout)}"><button>Log out</button></form>`
  )
}

/** Returns the HTML of the page after a logout. */
export const loggedOutPage = (login: string): string =>
  cardPage(
    'Logged out',
    `<h1>Logged out</h1>
<p>You are logged out.</p>
<p><a href="${escapeHtml(login)}">Log in again</a></p>`
  )

/** Returns the HTML of a page that sends the browser on, where a redirect is not allowed or loses cookies. */
export function redirectPage(location: string): string {
  const url = escapeHtml(location)
  return cardPage(
    'One moment',
    `<h1>One moment</h1>
<p><a href="${url}">Go on</a></p>`,
    `<meta http-equiv="refresh" content="0; url=${url}">\n`
  )
}
