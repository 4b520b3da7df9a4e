//! One request and its answer, with what the script wants done to them.

use std::io::{ErrorKind, Result};
use std::time::Duration;

use super::request::Request;
use super::wire::{Framing, Wire, framing_of_answer, framing_of_request, header, status};
use super::{Action, Answer, Framed, Reply, When};

/// Gives the client's connection back when another request may follow on it.
pub fn run(mut client: Wire, upstream: &str, head: &[u8], request: &Request, action: Action) -> Result<Option<Wire>> {
    let framing = framing_of_request(head);
    if header(head, "expect").is_some_and(|value| value == "100-continue") {
        client.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    match action {
        Action::ResetRequest(When::Before) => client.reset(),
        Action::ResetRequest(When::After) => {
            client.body(framing, &mut |_, _| Ok(()))?;
            client.reset();
        }
        Action::ResetRequest(When::Within) => {
            let mut server = client.dial(upstream)?;
            let sent = send(
                &mut client,
                &mut server,
                head,
                &Meddle::end(request.length.unwrap_or(0) / 2),
            );
            server.reset();
            client.reset();
            return sent.map(|()| None);
        }
        Action::Before(call) => {
            client.body(framing, &mut |_, _| Ok(()))?;
            call();
            client.reset();
        }
        Action::Hold => {
            client.body(framing, &mut |_, _| Ok(()))?;
            client.wait_for_end();
        }
        Action::Answer(answer) => {
            client.body(framing, &mut |_, _| Ok(()))?;
            client.write(&own(&answer, &request.method))?;
            return Ok(keep(client, head, b""));
        }
        Action::WithoutHeader(name) => {
            let head = without(head, &[name]);
            return relay(client, upstream, &head, request, Action::Forward);
        }
        Action::Forward | Action::FlipRequest(_) | Action::StallRequest(..) => {
            return relay(client, upstream, head, request, action);
        }
        damage => return damaged(client, upstream, head, request, damage),
    }

    Ok(None)
}

/// Passes a request on and its answer back as it comes.
fn relay(mut client: Wire, upstream: &str, head: &[u8], request: &Request, action: Action) -> Result<Option<Wire>> {
    let mut server = client.dial(upstream)?;
    let meddle = match action {
        Action::FlipRequest(at) => Meddle {
            flip: Some(at),
            ..Meddle::default()
        },
        Action::StallRequest(after, time) => Meddle {
            stall: Some((after, time)),
            ..Meddle::default()
        },
        _ => Meddle::default(),
    };

    send(&mut client, &mut server, head, &meddle)?;
    let Ok(answer) = answer_head(&mut server) else {
        client.reset();
        return Ok(None);
    };
    client.write(&answer)?;
    let framing = framing_of_answer(&answer, &request.method);
    server.body(framing, &mut |bytes, _| client.write(bytes))?;
    Ok(keep(client, head, &answer).filter(|_| framing != Framing::UntilClose))
}

/// Passes a request on, takes the whole answer in, and hands back what the script leaves of it.
fn damaged(mut client: Wire, upstream: &str, head: &[u8], request: &Request, action: Action) -> Result<Option<Wire>> {
    let mut server = client.dial(upstream)?;
    send(&mut client, &mut server, head, &Meddle::default())?;
    let mut answer = answer_head(&mut server)?;
    let mut body = Vec::new();
    server.body(framing_of_answer(&answer, &request.method), &mut |bytes, offset| {
        offset.inspect(|_| body.extend_from_slice(bytes));
        Ok(())
    })?;
    if let Action::Edit(change) = action {
        return edited(client, head, &answer, body, request, change);
    }
    if !body.is_empty() {
        answer = with_length(&answer, body.len());
    }
    let mut whole = |answer: &[u8], body: &[u8]| client.write(answer).and_then(|()| client.write(body));

    match action {
        Action::DropAnswer => client.reset(),
        Action::HoldAnswer => client.wait_for_end(),
        Action::ResetAnswer => {
            let part = if body.is_empty() {
                &answer[..answer.len() / 2]
            } else {
                &answer
            };
            whole(part, &body[..body.len() / 2])?;
            // Let the bytes arrive: a reset throws away what was not read yet.
            std::thread::sleep(Duration::from_millis(50));
            client.reset();
        }
        Action::TruncateAnswer => whole(&answer, &body[..body.len() / 2])?,
        Action::LengthenAnswer { bytes, announced } => {
            let longer = [&body[..], &vec![b'x'; bytes]].concat();
            let answer = if announced {
                with_length(&answer, longer.len())
            } else {
                answer
            };
            whole(&answer, &longer)?;
        }
        Action::FlipAnswer(at) => {
            let at = usize::try_from(at).unwrap_or(usize::MAX) % body.len().max(1);
            body.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
            whole(&answer, &body)?;
            return Ok(keep(client, head, &answer));
        }
        Action::Trickle(pause) => {
            client.write(&answer)?;
            for byte in body {
                std::thread::sleep(pause);
                client.write(&[byte])?;
            }
        }
        Action::After(call) => {
            call();
            whole(&answer, &body)?;
            return Ok(keep(client, head, &answer));
        }
        _ => return Err(ErrorKind::Unsupported.into()),
    }

    Ok(None)
}

/// Hands back what the script makes of an answer.
fn edited(
    mut client: Wire,
    request_head: &[u8],
    answer: &[u8],
    body: Vec<u8>,
    request: &Request,
    change: Box<dyn FnOnce(&mut Reply) + Send>,
) -> Result<Option<Wire>> {
    let is_head = request.method == "HEAD";
    let framing: &[&str] = if is_head {
        &[]
    } else {
        &["content-length", "transfer-encoding"]
    };
    let text = String::from_utf8_lossy(&without(answer, framing)).into_owned();
    let lines = text
        .trim_end()
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'));
    let headers = lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut reply = Reply {
        status: status(answer),
        headers,
        body,
        framed: Framed::Length,
        cut: None,
        stall: None,
    };
    change(&mut reply);

    let mut text = format!("HTTP/1.1 {} Edited\r\n", reply.status);
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let has_body = !is_head && !matches!(reply.status, 204 | 304);
    text.push_str(&match reply.framed {
        _ if !has_body => String::new(),
        Framed::Length => format!("Content-Length: {}\r\n", reply.body.len()),
        Framed::Chunked => "Transfer-Encoding: chunked\r\n".into(),
        Framed::UntilClose => "Connection: close\r\n".into(),
    });
    client.write(format!("{text}\r\n").as_bytes())?;
    if !has_body {
        return Ok(keep(client, request_head, answer));
    }
    let whole = match reply.framed {
        Framed::Chunked if reply.body.is_empty() => b"0\r\n\r\n".to_vec(),
        Framed::Chunked => [
            format!("{:x}\r\n", reply.body.len()).as_bytes(),
            &reply.body,
            b"\r\n0\r\n\r\n",
        ]
        .concat(),
        _ => reply.body,
    };
    let sent = &whole[..reply.cut.unwrap_or(whole.len()).min(whole.len())];
    let (first, rest) = sent.split_at(reply.stall.map_or(sent.len(), |(after, _)| after.min(sent.len())));
    client.write(first)?;
    if let Some((_, time)) = reply.stall {
        std::thread::sleep(time);
    }
    client.write(rest)?;
    let ends = reply.cut.is_some() || reply.framed == Framed::UntilClose;
    Ok(keep(client, request_head, answer).filter(|_| !ends))
}

/// What is done to a request's body on its way.
#[derive(Default)]
struct Meddle {
    flip: Option<u64>,
    /// Nothing is passed on behind so many bytes.
    end: Option<u64>,
    stall: Option<(u64, Duration)>,
}

impl Meddle {
    fn end(at: u64) -> Self {
        Self {
            end: Some(at),
            ..Self::default()
        }
    }
}

/// Sends head and body on, the body at most up to `end`. A server that has answered and closed does not matter yet.
fn send(client: &mut Wire, server: &mut Wire, head: &[u8], meddle: &Meddle) -> Result<()> {
    let mut open = server.write(head).is_ok();
    let mut left = meddle.end;
    let mut stall = meddle.stall;
    let sent = client.body(framing_of_request(head), &mut |bytes, offset| {
        if let (Some(flip), Some(start)) = (meddle.flip, offset)
            && let Some(at) = flip.checked_sub(start)
            && let Some(byte) = bytes.get_mut(usize::try_from(at).unwrap_or(usize::MAX))
        {
            *byte ^= 1;
        }
        if let (Some((after, time)), Some(start)) = (stall, offset)
            && start + bytes.len() as u64 > after
        {
            std::thread::sleep(time);
            stall = None;
        }
        let take = left.map_or(bytes.len(), |left| {
            bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))
        });
        open = open && server.write(&bytes[..take]).is_ok();
        left = left.map(|left| left - take as u64);
        if left == Some(0) {
            Err(ErrorKind::Interrupted.into())
        } else {
            Ok(())
        }
    });
    match sent {
        Err(error) if left == Some(0) && error.kind() == ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}

/// The head of the final answer; the client has had its `100 Continue` from us.
fn answer_head(server: &mut Wire) -> Result<Vec<u8>> {
    loop {
        let head = server.head()?.ok_or(ErrorKind::UnexpectedEof)?;
        if status(&head) >= 200 {
            return Ok(head);
        }
    }
}

fn keep(client: Wire, request: &[u8], answer: &[u8]) -> Option<Wire> {
    let closes = |head| header(head, "connection").is_some_and(|value| value == "close");
    (!closes(request) && !closes(answer)).then_some(client)
}

/// The head with its body framed by Content-Length, whatever framed it before.
fn with_length(head: &[u8], length: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(&without(head, &["content-length", "transfer-encoding"])).into_owned();
    format!("{}\r\nContent-Length: {length}\r\n\r\n", text.trim_end()).into_bytes()
}

/// The head without these headers, whose names are in lower case.
fn without(head: &[u8], names: &[&str]) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let lines = text.trim_end().split("\r\n").filter(|line| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !names.contains(&name.as_str())
    });
    let kept: Vec<_> = lines.collect();
    format!("{}\r\n\r\n", kept.join("\r\n")).into_bytes()
}

fn own(answer: &Answer, method: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
    if method != "HEAD" {
        text.push_str(&answer.body);
    }
    text.into_bytes()
}
