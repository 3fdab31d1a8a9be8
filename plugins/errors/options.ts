import { readFileSync } from 'node:fs'
import type { About, Comparison } from '../../src/kit/concern.ts'
import { type OptionFault, Type } from '../../src/kit/index.ts'
import { ERROR_STATUS, EXPECTED_ERROR_STATUS } from '../../src/lib/http/statuses.ts'
import { overrideOf, type Static } from '../../src/lib/schema.ts'
import { EXPECTED_NAME, File } from '../../src/lib/units.ts'
import { unreadable } from '../../src/lib/unreadable.ts'
import { Bodies, bodyFaults } from './bodies.ts'
import { codeFault } from './codes.ts'

const page = File({
  description: 'An HTML file; {status}, {title}, {detail}, {code} and {requestId} are replaced.'
})

/** The pattern of an error: its code, or its status, class or range. */
const ERROR = `${ERROR_STATUS}|^SP_ERR_[A-Z0-9]+(_[A-Z0-9]+)*$`

export const options = Type.Object(
  {
    format: Type.Unsafe<'problem+json' | 'text' | 'html'>({
      type: 'string',
      enum: ['problem+json', 'text', 'html'],
      default: 'problem+json',
      description: 'The format of an error response if the Accept header allows several.'
    }),
    pages: Type.Record(Type.String({ pattern: ERROR_STATUS }), page, {
      additionalProperties: false,
      [EXPECTED_NAME]: EXPECTED_ERROR_STATUS,
      default: {},
      description:
        'Pages for error responses in HTML, by status ("502"), class ("5xx") or range ("500-504"), each a file with values such as "{status}" and "{requestId}" in it.',
      examples: [{ 404: 'pages/404.html', '5xx': 'pages/sorry.html' }]
    }),
    bodies: Type.Record(Type.String({ pattern: ERROR }), Bodies, {
      additionalProperties: false,
      [EXPECTED_NAME]: `${EXPECTED_ERROR_STATUS}, or a code such as "SP_ERR_ROUTE_UNKNOWN"`,
      default: {},
      description:
        'Bodies of error responses, by code ("SP_ERR_RATE_LIMIT_EXCEEDED"), status ("429"), class or range, each in the formats that clients may accept, with values such as "{detail}" and "{requestId}", escaped for their place.',
      examples: [
        { 429: { json: { error: 'slow down', request: '{requestId}' }, html: '<h1>Slow down</h1>' } }
      ]
    })
  },
  {
    additionalProperties: false,
    description: "The format of the gateway's own error responses (RFC 9457).",
    examples: [{ format: 'text' }]
  }
)

export const override = overrideOf(options)
export type ErrorsOptions = Static<typeof options>

export function faults(
  { pages, bodies }: ErrorsOptions,
  { extensions }: Pick<About, 'extensions'>
): OptionFault[] {
  return [
    ...Object.entries(pages).flatMap(([status, file]) => pageFaults(file, ['pages', status])),
    ...Object.entries(bodies).flatMap(([error, each]) => {
      const path = ['bodies', error]
      const message = error.startsWith('SP_') ? codeFault(error, extensions) : undefined
      return [...(message === undefined ? [] : [{ path, message }]), ...bodyFaults(each, path)]
    })
  ]
}

function pageFaults(file: string, path: OptionFault['path']): OptionFault[] {
  try {
    readFileSync(file)
    return []
  } catch (error) {
    return [{ path, message: unreadable(file, error) }]
  }
}

/** How `diff` compares two resolved options. */
export const comparison: Comparison = {
  changes: (_before: ErrorsOptions | undefined, _after: ErrorsOptions | undefined, { changed }) =>
    changed.map((name) => ({
      class: 'exposure',
      path: [name],
      message: 'tells clients something else of errors'
    }))
}
