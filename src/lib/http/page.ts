import { createHash } from 'node:crypto'
import { escapeHtml } from '../html.ts'

// Logical properties, so that a page also reads from right to left, such as where a browser translates it. Code never does.
const THEME = `
:root{color-scheme:light dark;--ink:#1b2430;--quiet:#5b584f;--paper:#f4f1ea;--card:#fffdf8;--line:#c9c1b2;--edge:#7d7565;--mark:#0b5c5a;--wrong:#a3261b}
@media (prefers-color-scheme:dark){:root{--ink:#ece7dc;--quiet:#a9b1b8;--paper:#161b20;--card:#1f262d;--line:#46505a;--edge:#8a949e;--mark:#5cc9bf;--wrong:#ff9a8d}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
a{color:var(--mark)}
code{font:.9em/1.5 ui-monospace,monospace;direction:ltr;unicode-bidi:isolate}
:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
`

/** The media type of a page. */
export const HTML = 'text/html; charset=utf-8'

/** A kind of page with a style of its own. */
export interface PageTemplate {
  /** The start of the page's Content-Security-Policy: no script, and no style but its own. */
  readonly policy: string
  /** Makes the document; `title` is text, the others are HTML. */
  render(title: string, body: string, head?: string): string
}

/** Makes a template from the rules that a page adds to the gateway's design. */
export function pageTemplate(rules: string): PageTemplate {
  const style = THEME + rules
  const hash = createHash('sha256').update(style).digest('base64')
  return {
    policy: `default-src 'none'; style-src 'sha256-${hash}'; img-src data:; base-uri 'none'`,
    render: (title, body, head = '') => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
${head}<style>${style}</style>
</head>
<body>
${body}
</body>
</html>
`
  }
}
