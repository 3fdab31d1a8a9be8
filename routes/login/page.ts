import { escapeHtml } from '../../src/lib/html.ts'

const STYLE = `
:root{color-scheme:light dark;--ink:#1b2430;--paper:#f4f1ea;--card:#fffdf8;--line:#c9c1b2;--edge:#7d7565;--mark:#0b5c5a;--wrong:#a3261b}
@media (prefers-color-scheme:dark){:root{--ink:#ece7dc;--paper:#161b20;--card:#1f262d;--line:#46505a;--edge:#8a949e;--mark:#5cc9bf;--wrong:#ff9a8d}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;padding:1rem}
main{width:100%;max-width:24rem;background:var(--card);border:1px solid var(--line);border-top:.35rem solid var(--mark);border-radius:.4rem;padding:clamp(1rem,6vw,2rem);overflow-wrap:anywhere}
h1{margin:0 0 1.25rem;font-size:1.5rem;letter-spacing:-.01em}
label{display:block;font-weight:600;margin:1rem 0 .3rem}
input{width:100%;font:inherit;color:inherit;background:transparent;border:1px solid var(--edge);border-radius:.3rem;padding:.6rem .7rem}
a{color:var(--mark)}
button{margin-top:1.5rem;width:100%;font:inherit;font-weight:600;color:var(--card);background:var(--mark);border:0;border-radius:.3rem;padding:.7rem;cursor:pointer}
input:focus-visible,button:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
[role=alert]{margin:0;padding:.6rem .7rem;border:1px solid var(--wrong);border-radius:.3rem;color:var(--wrong)}`

/** The values of the login page. */
export interface LoginPage {
  /** Path of the login route. */
  readonly login: string
  /** Path of the logout route. */
  readonly logout: string
  readonly returnTo: string
  /** Whether users can log in at an OpenID Connect provider as well. */
  readonly provider: boolean
  /** The user who is logged in; undefined for the login form. */
  readonly user: string | undefined
  /** Whether the last attempt had a wrong username or password. */
  readonly wrong: boolean
}

/** Returns the HTML of the login page, which needs no script. */
export function loginPage({ login, logout, returnTo, provider, user, wrong }: LoginPage): string {
  const content =
    user === undefined
      ? `<h1>Log in</h1>
${wrong ? '<p role="alert">Invalid username or password.</p>\n' : ''}<form method="post" action="${escapeHtml(login)}">
<input type="hidden" name="return_to" value="${escapeHtml(returnTo)}">
<label for="username">Name</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button>
</form>${provider ? `\n<p><a href="${escapeHtml(`${login}?with=provider&return_to=${encodeURIComponent(returnTo)}`)}">Log in with your organisation</a></p>` : ''}`
      : `<h1>Hello, ${escapeHtml(user)}</h1>
<p>You are logged in.</p>
<form method="post" action="${escapeHtml(logout)}"><button>Log out</button></form>`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${wrong ? 'Error: ' : ''}${user === undefined ? 'Log in' : 'Logged in'}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`
}
