import type { FastifyBaseLogger } from 'fastify'

/** The levels that a line of the access log can have. */
export type LineLevel = 'info' | 'warn' | 'error'

/** Under this key a logger offers to write a line whose fields are JSON already; one that does not is handed objects. */
export const LINES = Symbol.for('sallyport.lines')

/** Writes a line, given its fields as JSON without the braces around them. */
export type WriteLine = (level: LineLevel, fields: string) => void

/** Finds how a logger takes lines that are JSON already; undefined where it wants objects. */
export const lineWriter = (log: FastifyBaseLogger): WriteLine | undefined =>
  (log as FastifyBaseLogger & { [LINES]?: WriteLine })[LINES]

/** Writes a text as JSON does; one that has nothing to escape is only put in quotes. */
export function quote(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    // Controls, the quote, the backslash, and what may be half of a pair (RFC 8259 section 7).
    if (code < 32 || code === 34 || code === 92 || code > 126) return JSON.stringify(text)
  }
  return `"${text}"`
}
