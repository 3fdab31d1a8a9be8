import { escapeHtml } from '../../src/lib/html.ts'
import { CARD_POLICY, cardPage, factsHtml } from '../../src/lib/http/card-page.ts'
import { HTML } from '../../src/lib/http/page.ts'
import type { ErrorBody } from './error-body.ts'
import type { ErrorsOptions } from './options.ts'
import type { Failure, Problem } from './problem.ts'

/** The bodies of an error without configured ones, by the format that they are. */
export const BUILTIN: Readonly<Record<ErrorsOptions['format'], ErrorBody>> = {
  'problem+json': { kind: 'problem+json', type: 'application/problem+json', render: problemDocument },
  text: { kind: 'text', type: 'text/plain; charset=utf-8', render: plainText },
  html: { kind: 'html', type: HTML, policy: CARD_POLICY, render: ({ problem }) => builtinPage(problem) }
}

// The final newline keeps a shell's prompt on its own line.
function problemDocument({ problem, members }: Failure): string {
  return `${JSON.stringify({ ...problem, link: undefined, lines: undefined, ...members })}\n`
}

function plainText({
  problem: { status, title, detail, lines = [], code, requestId = '' }
}: Failure): string {
  return `${[`${status} ${title}`, detail, ...lines, `${code} ${requestId}`.trim()].join('\n')}\n`
}

function builtinPage({ status, title, detail, code, requestId, traceId, link, lines }: Problem): string {
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
