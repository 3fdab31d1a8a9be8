/** A template is invalid; the message says what was expected. */
export class TemplateError extends Error {}

/** A part of a template: a literal text, or what stands between braces. */
export type TemplatePart = string | { readonly reference: string }

/** Splits a text at its `{references}`; `{{` and `}}` are literal braces, and no two literals stand side by side; throws a TemplateError. */
export function templateParts(text: string): TemplatePart[] {
  const parts: TemplatePart[] = []
  let literal = ''
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if ((char === '{' || char === '}') && text[i + 1] === char) {
      literal += char
      i++
    } else if (char === '{') {
      const end = text.indexOf('}', i)
      if (end === -1)
        throw new TemplateError(`expected a "}" after "{", got "${text}"; "{{" is a literal brace`)
      if (literal !== '') parts.push(literal)
      literal = ''
      parts.push({ reference: text.slice(i + 1, end) })
      i = end
    } else literal += char
  }
  if (literal !== '') parts.push(literal)
  return parts
}
