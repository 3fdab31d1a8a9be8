const VARIABLE = /\$\{[A-Za-z_]\w*(?::-[^}]*)?\}/g

/** Returns a text as an option: a variable of the environment stays one, every other `${` is literal. */
export const literal = (text: string): string =>
  outsideOfVariables(text, (part) => part.replaceAll('${', () => '$${'))

/** Returns a text as an option where `{…}` is a value of the request, too. */
export const literalTemplate = (text: string): string =>
  outsideOfVariables(text, (part) => part.replaceAll('${', () => '$${').replaceAll('{', '{{'))

function outsideOfVariables(text: string, change: (part: string) => string): string {
  let made = ''
  let last = 0
  for (const match of text.matchAll(VARIABLE)) {
    made += change(text.slice(last, match.index)) + match[0]
    last = match.index + match[0].length
  }
  return made + change(text.slice(last))
}
