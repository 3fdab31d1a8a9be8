import { readFileSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'
import { escapeHtml } from '../../src/lib/html.ts'
import { cardPage, factsHtml } from '../../src/lib/http/card-page.ts'
import { statusRange } from '../../src/lib/http/statuses.ts'
import type { Refusal } from '../../src/lib/refusals.ts'
import type { ErrorsOptions } from './options.ts'

type PageRenderer = (problem: Problem) => string

/** The error format of a route. */
export interface RefusalFormat {
  readonly format: ErrorsOptions['format']
  readonly pages: ReadonlyMap<number, PageRenderer>
}

/** Reads the pages of a route once; a page for fewer statuses wins over one for more. */
export function compileFormat({ format, pages }: ErrorsOptions): RefusalFormat {
  const compiled = new Map<number, PageRenderer>()
  const ranges = Object.entries(pages).map(([statuses, file]) => ({ range: statusRange(statuses), file }))
  const width = ([first, last]: readonly [number, number]): number => last - first
  for (const { range, file } of ranges.sort((a, b) => width(b.range) - width(a.range))) {
    const page = compilePage(readFileSync(file, 'utf8'))
    const [first, last] = range
    for (let status = first; status <= last; status++) compiled.set(status, page)
  }
  return { format, pages: compiled }
}

const PLACEHOLDER = /\{(status|title|detail|code|requestId)\}/

// Only these five names are replaced; other braces belong to styles and scripts.
function compilePage(text: string): PageRenderer {
  const parts = text.split(PLACEHOLDER)
  return (problem) =>
    parts
      .map((part, i) => (i % 2 === 0 ? part : escapeHtml(String(problem[part as keyof Problem] ?? ''))))
      .join('')
}

/** A problem document, and the link of its page. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly requestId?: string
  readonly traceId?: string
  readonly link?: Refusal['link']
  readonly lines?: Refusal['lines']
}

/** Serializes a problem document with a final newline, which keeps a shell's prompt on its own line. */
export const serializeProblem = (problem: unknown): string => `${JSON.stringify(problem)}\n`

/** Creates the problem document of an error (RFC 9457), without its additional members. */
export function problemOf(refusal: Refusal, requestId?: string): Problem {
  const status = refusal.statusCode ?? 500
  const title = STATUS_CODES[status] ?? 'Error'
  return {
    type: 'about:blank',
    title,
    status,
    code: refusal.code,
    detail: refusal.message,
    ...(requestId === undefined ? {} : { requestId })
  }
}

/** Negotiates the format by the Accept header: the type with the highest weight wins (RFC 9110 section 12.5.1). */
export function negotiate(
  accept: string | undefined,
  format: ErrorsOptions['format']
): ErrorsOptions['format'] {
  let best = format
  let highest = 0
  for (const range of (accept ?? '').toLowerCase().split(',')) {
    const [type = '', ...params] = range.split(';').map((part) => part.trim())
    const candidate = formatOf(type, format)
    const weight = Number(params.find((param) => param.startsWith('q='))?.slice(2) ?? 1)
    if (candidate !== undefined && weight > highest) [best, highest] = [candidate, weight]
  }
  return best
}

function formatOf(type: string, format: ErrorsOptions['format']): ErrorsOptions['format'] | undefined {
  if (type === '*/*') return format
  if (type === 'application/*' || type.endsWith('json')) return 'problem+json'
  if (type === 'text/html') return 'html'
  return type === 'text/plain' || type === 'text/*' ? 'text' : undefined
}

/** Renders the HTML page for an error without a configured page. */
export function builtinPage({
  status,
  title,
  detail,
  code,
  requestId,
  traceId,
  link,
  lines
}: Problem): string {
  const items = lines?.map((line) => `<li>${escapeHtml(line)}</li>`).join('')
  const facts = Object.entries({ Code: code, 'Request ID': requestId, 'Trace ID': traceId }).flatMap(
    ([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, `<code>${escapeHtml(value)}</code>`]]
  )
  return cardPage(
    `${status} ${title}`,
    [
      `<p class="status">${status}</p>`,
      `<h1>${escapeHtml(title)}</h1>`,
      `<p>${escapeHtml(detail)}</p>`,
      ...(items === undefined ? [] : [`<ul>${items}</ul>`]),
      ...(link === undefined
        ? []
        : [`<p><a href="${escapeHtml(link.href)}">${escapeHtml(link.text)}</a></p>`]),
      factsHtml(facts)
    ].join('\n')
  )
}
