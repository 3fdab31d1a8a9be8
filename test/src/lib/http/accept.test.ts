import t from 'tap'
import { preferredOffer } from '../../../../src/lib/http/accept.ts'

const JSON_OFFER = { value: 'json', types: ['application/json'] }
const XML_OFFER = { value: 'xml', types: ['application/xml', 'text/xml'] }

t.test('the highest weight wins, then the order of the offers', async (t) => {
  const cases: [accept: string | undefined, preferred: string | undefined][] = [
    [undefined, undefined],
    ['', undefined],
    ['*/*', 'json'],
    ['application/*', 'json'],
    ['text/*', 'xml'],
    ['text/xml', 'xml'],
    ['APPLICATION/XML', 'xml'],
    ['application/xml, application/json', 'json'],
    ['application/xml, application/json;q=0.9', 'xml'],
    ['application/xml;q=0.5, */*;q=0.1', 'xml'],
    ['application/json;q=0, */*', 'xml'],
    ['application/json;q=0', undefined],
    ['text/xml;q=0, application/*;q=0.3', 'json'],
    ['application/xml; charset=utf-8 ; q=0.9, application/json;version=1;q=0.8', 'xml'],
    ['text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8', 'xml'],
    ['image/png', undefined],
    ['application/json;q=2', undefined],
    ['application/json;q=x, application/xml;q=0.1', 'xml'],
    [',,;q=1,/,', undefined]
  ]
  for (const [accept, preferred] of cases)
    t.equal(preferredOffer(accept, [JSON_OFFER, XML_OFFER]), preferred, String(accept))
  t.equal(preferredOffer('*/*', [XML_OFFER, JSON_OFFER]), 'xml')
})
