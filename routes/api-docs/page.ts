import { escapeHtml } from '../../src/lib/html.ts'
import { pageTemplate } from '../../src/lib/http/page.ts'
import { isObject } from '../../src/lib/schema.ts'
import { operationRows } from './operations.ts'

const { policy, render } =
  pageTemplate(`body{background:var(--card);margin:0 auto;max-inline-size:75rem;padding:clamp(1rem,4vw,2rem)}
h1{margin:0;font-size:1.75rem;letter-spacing:-.01em}
h2{margin:.75rem 0 0;font-size:1rem}
p{margin:0 0 .4rem;white-space:pre-line}
ul{margin:0;padding-inline-start:1.2rem}
table{inline-size:100%;border-collapse:collapse;margin-block-start:1.5rem}
caption{text-align:start;font-weight:600;margin-block-end:.4rem}
th,td{text-align:start;vertical-align:top;padding-block:.6rem;padding-inline:0 .8rem;border-block-start:1px solid var(--line)}
.method{color:var(--mark);font-weight:700}
summary{cursor:pointer;color:var(--mark)}
@media (max-width:45rem){table,caption,tbody,tr,td{display:block}td:nth-child(-n+2){display:inline-block;margin-inline-end:.6rem}thead{display:none}tr{border-block-start:1px solid var(--line);padding:.6rem 0}td{border:0;padding:.1rem 0}td:last-child::before{content:"Credentials: "}}
`)

/** The policy of the page: no script, and no style but its own. */
export const PAGE_POLICY: string = `${policy}; form-action 'none'; frame-ancestors 'self'`

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
  return render(
    String(info['title'] ?? ''),
    `<header>
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
</main>`
  )
}
