import type { FastifyBaseLogger } from 'fastify'

/** The levels that a line of the access log can have. */
export type LineLevel = 'info' | 'warn' | 'error'

/** The key under which a logger writes lines whose fields are JSON already; other loggers get objects. */
export const LINES = Symbol.for('sallyport.lines')

/** Writes a line from its fields as JSON, without the braces around them. */
export type WriteLine = (level: LineLevel, fields: string) => void

/** Returns how a logger writes lines that are JSON already; undefined for a logger that needs objects. */
export const lineWriter = (log: FastifyBaseLogger): WriteLine | undefined =>
  (log as FastifyBaseLogger & { [LINES]?: WriteLine })[LINES]

/** Formats a text as JSON, faster than JSON.stringify for texts without escapes. */
export function quote(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    // Control characters, the quote, the backslash, and possible surrogates (RFC 8259 section 7).
    if (code < 32 || code === 34 || code === 92 || code > 126) return JSON.stringify(text)
  }
  return `"${text}"`
}
