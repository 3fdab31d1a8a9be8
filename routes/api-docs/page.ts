import { createHash } from 'node:crypto'
import { escapeHtml } from '../../src/lib/html.ts'
import { isObject } from '../../src/lib/schema.ts'
import { operationRows } from './operations.ts'

const STYLE = `
:root{color-scheme:light dark;--ink:#1b2430;--paper:#fffdf8;--line:#c9c1b2;--mark:#0b5c5a}
@media (prefers-color-scheme:dark){:root{--ink:#ece7dc;--paper:#161b20;--line:#46505a;--mark:#5cc9bf}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:75rem;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;padding:clamp(1rem,4vw,2rem);overflow-wrap:anywhere}
h1{margin:0;font-size:1.75rem;letter-spacing:-.01em}
h2{margin:.75rem 0 0;font-size:1rem}
p{margin:0 0 .4rem;white-space:pre-line}
ul{margin:0;padding-left:1.2rem}
a{color:var(--mark)}
table{width:100%;border-collapse:collapse;margin-top:1.5rem}
caption{text-align:left;font-weight:600;margin-bottom:.4rem}
th,td{text-align:left;vertical-align:top;padding:.6rem .8rem .6rem 0;border-top:1px solid var(--line)}
code{font:.9em/1.5 ui-monospace,monospace}
.method{color:var(--mark);font-weight:700}
summary{cursor:pointer;color:var(--mark)}
:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
@media (max-width:45rem){table,caption,tbody,tr,td{display:block}td:nth-child(-n+2){display:inline-block;margin-right:.6rem}thead{display:none}tr{border-top:1px solid var(--line);padding:.6rem 0}td{border:0;padding:.1rem 0}td:last-child::before{content:"Credentials: "}}`

/** The policy of the page: no script, and no style but its own. */
export const PAGE_POLICY: string = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'`

/** Links of the page to the formats of the document. */
export const DOCUMENT_LINKS =
  '<p><a href="openapi.json">openapi.json</a> · <a href="openapi.yaml">openapi.yaml</a></p>\n'

/** Makes a page without scripts that lists the operations of an OpenAPI document; `links` is HTML. */
export function* operationsPage(
  document: Readonly<Record<string, unknown>>,
  links: string
): Generator<void, string> {
  const info = isObject(document['info']) ? document['info'] : {}
  const text = (name: string): string => escapeHtml(String(info[name] ?? ''))
  const rows = yield* operationRows(document)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${text('title')}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>${text('title')}</h1>
<p>Version ${text('version')}</p>
<p>${text('description')}</p>
${links}</header>
<main>
<table>
<caption>${rows.length === 1 ? 'One operation' : `${rows.length} operations`}</caption>
<thead><tr><th scope="col">Method</th><th scope="col">Path</th><th scope="col">Description</th><th scope="col">Credentials</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>
</main>
</body>
</html>
`
}
