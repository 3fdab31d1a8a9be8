import { escapeHtml } from '../html.ts'
import { pageTemplate } from './page.ts'

const { policy, render } =
  pageTemplate(`body{min-block-size:100vh;display:grid;place-items:center;padding:1rem}
main{inline-size:100%;max-inline-size:26rem;background:var(--card);border:1px solid var(--line);border-block-start:.35rem solid var(--mark);border-radius:.4rem;padding:clamp(1rem,6vw,2rem)}
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25;letter-spacing:-.01em}
p,ul,dl{margin:0 0 1rem}
ul{padding-inline-start:1.2rem}
main>:last-child{margin-block-end:0}
.status{margin:0;color:var(--mark);font-weight:600}
dl{display:grid;grid-template-columns:fit-content(40%) minmax(0,1fr);gap:.25rem 1rem;border-block-start:1px solid var(--line);padding-block-start:1rem}
dt{color:var(--quiet)}
dd{margin:0}
label{display:block;font-weight:600;margin-block:1rem .3rem}
input{inline-size:100%;font:inherit;color:inherit;background:transparent;border:1px solid var(--edge);border-radius:.3rem;padding:.6rem .7rem}
[aria-invalid]{border-color:var(--wrong)}
button{inline-size:100%;margin-block-start:1.5rem;font:inherit;font-weight:600;color:var(--card);background:var(--mark);border:1px solid transparent;border-radius:.3rem;padding:.7rem;cursor:pointer}
form+p{margin-block-start:1rem}
dl+form button{margin-block-start:.5rem}
[role=alert]{padding:.6rem .7rem;border:1px solid var(--wrong);border-radius:.3rem;color:var(--wrong)}
`)

/** The policy of a card without a form. */
export const CARD_POLICY: string = `${policy}; form-action 'none'`

/** The policy of a card with a form, which only pages of the same origin may frame (CWE-1021). */
export const FORM_POLICY: string = `${policy}; form-action 'self'; frame-ancestors 'self'`

/** Returns whether a Content-Security-Policy is the one that a card has itself. */
export const isCardPolicy = (value: unknown): boolean => value === CARD_POLICY || value === FORM_POLICY

/** Makes a page of the gateway that is one card: an error, the log-in. `title` is text, the others are HTML. */
export const cardPage = (title: string, content: string, head?: string): string =>
  render(title, `<main>\n${content}\n</main>`, head)

/** Makes the HTML of a list of names and values; values are HTML. */
export const factsHtml = (facts: readonly (readonly [name: string, value: string])[]): string =>
  `<dl>\n${facts.map(([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${value}</dd>`).join('\n')}\n</dl>`
