import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { verifyWebhook } from '../../../../docs/examples/verify-webhook.ts'
import type { HttpRequest } from '../http-post.ts'
import type { Severity } from '../model.ts'
import { claimedOf } from './claimed.fixture.ts'
import { opsgenie } from './opsgenie.ts'
import { pagerDuty } from './pagerduty.ts'
import { slack } from './slack.ts'
import { teams } from './teams.ts'
import { webhook } from './webhook.ts'

const LINK = 'https://docs.test/analyses/a1?x=<y>&z'
const linkOf = () => LINK
const clock = () => new Date('2026-11-10T12:00:00.900Z')
const json = ({ body }: HttpRequest) => JSON.parse(body)
const anyText = fc.string({ unit: 'binary', maxLength: 20_000 }).map((text) => text.toWellFormed())

describe('webhook', () => {
  const SECRET = 'sixteen-letters!'
  const { request } = webhook({ clock, linkOf })
  const claimed = claimedOf({ destination: `https://example.com/hook#${SECRET}` })

  const verify = ({ headers, body }: HttpRequest, now: Date): boolean =>
    verifyWebhook(SECRET, headers, Buffer.from(body), now.getTime())

  it('signs with the secret as its user wrote it', () => {
    const secret = 'a<b>"c`%22#d|e^f?'
    const { headers, body } = request(claimedOf({ destination: `https://example.com/hook#${secret}` }))
    expect(verifyWebhook(secret, headers, Buffer.from(body), clock().getTime())).toBe(true)
  })

  it('tells programs the notification and the event', () => {
    expect(json(request(claimed))).toEqual({
      deliveryId: claimed.id,
      notificationId: 'n1',
      tenantId: 'acme',
      userId: 'ana',
      severity: 'error',
      subject: { type: 'instance', id: 'document-1' },
      title: 'document: an instance is unhealthy',
      body: 'Instance: document-1.\nconnection refused',
      locale: 'en',
      link: LINK,
      createdAt: '2026-11-10T12:00:00.000Z',
      event: {
        id: 'e1',
        type: 'docmesh.registry.v1.ServiceUnhealthy',
        correlationId: 'c1',
        payload: { service: 'document', instanceId: 'document-1', detail: 'connection refused' },
      },
    })
  })

  it('signs time and body with the secret behind the #', () => {
    const sent = request(claimed)
    expect(sent.headers).toMatchObject({
      'content-type': 'application/json',
      'docmesh-timestamp': '1794312000',
      'idempotency-key': claimed.id,
    })
    expect(verify(sent, clock())).toBe(true)
    expect(verify({ ...sent, body: sent.body.replace('ana', 'eve') }, clock())).toBe(false)
    expect(
      verify(request({ ...claimed, destination: 'https://example.com/#another-secret!!' }), clock()),
    ).toBe(false)
    expect(verify(sent, new Date(clock().getTime() + 400_000))).toBe(false)
    expect(JSON.stringify([sent.headers, sent.body])).not.toContain(SECRET)
  })
})

describe('Slack', () => {
  const { request, accepts } = slack({ linkOf })

  it('is told in blocks, and in a line for where there are none', () => {
    expect(json(request(claimedOf({ title: 'a <b> & c', body: '<!channel>', locale: 'pt-BR' })))).toEqual({
      text: 'a &lt;b&gt; &amp; c',
      blocks: [
        { type: 'header', text: { type: 'plain_text', text: 'a <b> & c' } },
        { type: 'section', text: { type: 'plain_text', text: '<!channel>' } },
        {
          type: 'section',
          text: { type: 'mrkdwn', text: '<https://docs.test/analyses/a1?x=&lt;y&gt;&amp;z|Ver a análise>' },
        },
      ],
    })
  })

  it('stays within the limits of Block Kit, and no text of others is mark-up', () => {
    fc.assert(
      fc.property(anyText, anyText, (title, body) => {
        const { text, blocks } = json(request(claimedOf({ title: `x${title}`, body })))
        expect(text).not.toMatch(/[<>]/)
        const [header, ...sections] = blocks
        expect(header.text.text.length).toBeLessThanOrEqual(150)
        for (const { text: section } of sections) {
          expect(section.text.length).toBeGreaterThan(0)
          expect(section.text.length).toBeLessThanOrEqual(3_000)
        }
        expect(
          sections.filter(({ text: { type } }: { text: { type: string } }) => type === 'mrkdwn'),
        ).toHaveLength(1)
      }),
    )
  })

  it('says ok, and whatever says anything else is not Slack', () => {
    expect(['ok', 'ok\n', '', '<html>ok</html>', 'no_service'].map((body) => accepts?.(body))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
  })
})

describe('Teams', () => {
  const { request } = teams({ linkOf })

  it('is sent an adaptive card in the envelope of a workflow', () => {
    expect(json(request(claimedOf()))).toEqual({
      type: 'message',
      attachments: [
        {
          contentType: 'application/vnd.microsoft.card.adaptive',
          contentUrl: null,
          content: {
            $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
            type: 'AdaptiveCard',
            version: '1.4',
            lang: 'en',
            body: [
              {
                type: 'RichTextBlock',
                inlines: [
                  {
                    type: 'TextRun',
                    text: 'document: an instance is unhealthy',
                    size: 'Medium',
                    weight: 'Bolder',
                  },
                ],
              },
              { type: 'RichTextBlock', inlines: [{ type: 'TextRun', text: 'Instance: document-1.' }] },
              { type: 'RichTextBlock', inlines: [{ type: 'TextRun', text: 'connection refused' }] },
            ],
            actions: [{ type: 'Action.OpenUrl', title: 'See the analysis', url: LINK }],
          },
        },
      ],
    })
  })

  it('gets no more than 28 KB', () => {
    fc.assert(
      fc.property(fc.constantFrom('界', 'x\n', '\n', '"'), (unit) => {
        const { body } = request(claimedOf({ title: unit.repeat(150), body: unit.repeat(10_000) }))
        expect(Buffer.byteLength(body)).toBeLessThan(28_000)
      }),
    )
  })
})

describe('PagerDuty', () => {
  const KEY = '0123456789abcdef0123456789abcdef'
  const { url, request, accepts } = pagerDuty({ baseUrl: 'https://events.pagerduty.com', linkOf })
  const about = (more = {}) => json(request(claimedOf({ destination: KEY, ...more })))

  it('is sent an event of API v2', () => {
    expect(url(KEY)).toBe('https://events.pagerduty.com/v2/enqueue')
    expect(about()).toEqual({
      routing_key: KEY,
      event_action: 'trigger',
      dedup_key: `docmesh:${claimedOf().id}`,
      client: 'docmesh',
      payload: {
        summary: 'document: an instance is unhealthy',
        source: 'document-1',
        severity: 'error',
        timestamp: '2026-11-10T12:00:00.000Z',
        component: 'instance',
        class: 'docmesh.registry.v1.ServiceUnhealthy',
        custom_details: {
          body: 'Instance: document-1.\nconnection refused',
          event: { service: 'document', instanceId: 'document-1', detail: 'connection refused' },
        },
      },
      links: [{ href: LINK, text: 'See the analysis' }],
    })
  })

  it('resolves what the begin of the incident triggered', () => {
    const incident = 'instance/document-1'
    const begin = about({ incident })
    expect(about({ id: 'another', incident, resolves: true })).toEqual({
      routing_key: KEY,
      event_action: 'resolve',
      dedup_key: begin.dedup_key,
    })
    expect(about({ incident: 'instance/document-2' }).dedup_key).not.toBe(begin.dedup_key)
  })

  it('keeps to its limits whatever is told', () => {
    fc.assert(
      fc.property(
        anyText,
        anyText,
        fc.constantFrom('critical', 'error', 'warning', 'info'),
        (title, incident, severity) => {
          const event = about({ title, incident, severity })
          expect(event.dedup_key.length).toBeLessThanOrEqual(255)
          expect(event.payload.summary.length).toBeLessThanOrEqual(1_024)
          expect(['critical', 'error', 'warning', 'info']).toContain(event.payload.severity)
        },
      ),
    )
  })

  it('takes only the word of PagerDuty for success', () => {
    expect(accepts?.('{"status": "success", "message": "Event processed", "dedup_key": "x"}')).toBe(true)
    expect(accepts?.('<html>')).toBe(false)
  })
})

describe('Opsgenie', () => {
  const KEY = 'eb243592-faa2-4ba2-a551-1afdf565c889'
  const { request, accepts } = opsgenie({ baseUrl: 'https://api.opsgenie.com', linkOf })

  it('is sent an alert with the key of its integration', () => {
    const sent = request(claimedOf({ destination: KEY }))
    expect(sent).toMatchObject({
      url: 'https://api.opsgenie.com/v2/alerts',
      headers: { authorization: `GenieKey ${KEY}`, 'content-type': 'application/json' },
    })
    expect(sent.body).not.toContain(KEY)
    expect(json(sent)).toEqual({
      message: 'document: an instance is unhealthy',
      alias: `docmesh:${claimedOf().id}`,
      description: `Instance: document-1.\nconnection refused\n\n${LINK}`,
      source: 'docmesh',
      entity: 'document-1',
      priority: 'P2',
      details: {
        eventId: 'e1',
        eventType: 'docmesh.registry.v1.ServiceUnhealthy',
        event: '{"service":"document","instanceId":"document-1","detail":"connection refused"}',
      },
    })
  })

  it('closes what the begin of the incident opened', () => {
    const incident = 'instance/document-1'
    const { alias } = json(request(claimedOf({ destination: KEY, incident })))
    const end = request(claimedOf({ destination: KEY, incident, resolves: true, title: 'recovered' }))
    expect(end.url).toBe(
      `https://api.opsgenie.com/v2/alerts/${encodeURIComponent(alias)}/close?identifierType=alias`,
    )
    expect(json(end)).toEqual({ source: 'docmesh', note: 'recovered' })
  })

  it('keeps to its limits whatever is told', () => {
    fc.assert(
      fc.property(anyText, anyText, anyText, (title, body, incident) => {
        const alert = json(request(claimedOf({ destination: KEY, title, body, incident, subjectId: title })))
        expect(alert.message.length).toBeLessThanOrEqual(130)
        expect(alert.alias.length).toBeLessThanOrEqual(512)
        expect(alert.description.length).toBeLessThanOrEqual(15_000)
        expect(alert.entity.length).toBeLessThanOrEqual(512)
      }),
    )
  })

  it('has a priority for each severity', () => {
    const priorityOf = (severity: Severity) =>
      json(request(claimedOf({ destination: KEY, severity }))).priority
    expect((['critical', 'error', 'warning', 'info'] as const).map(priorityOf)).toEqual([
      'P1',
      'P2',
      'P3',
      'P5',
    ])
  })

  it('takes only the word of Opsgenie for success', () => {
    expect(accepts?.('{"result":"Request will be processed","took":0.3,"requestId":"43a29c5c"}')).toBe(true)
    expect(accepts?.('')).toBe(false)
  })
})
