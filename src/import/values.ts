/** Returns a text as an option where only `${…}` has a meaning. */
export const literal = (text: string): string => text.replaceAll('${', () => '$${')

/** Returns a text as an option where `{…}` is a value of the request, too. */
export const literalTemplate = (text: string): string => literal(text).replaceAll('{', '{{')
